"""The evidence pack: everything that an auditor asks for about a period, in one signed zip that answers offline (P13; docs/format.md).

Making it reads and never changes what it tells of. What was signed is the whole zip: `verify_evidence.py`, which lies in the pack and reads
each pack back before anybody gets it, finds one changed byte anywhere.
"""
