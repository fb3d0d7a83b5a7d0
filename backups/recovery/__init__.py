"""The whole service comes back on an empty database, from one location and the recovery kit (design section 8; P3, P4).

In this order: keys, database, the system stream with its people, the rows of all customers' streams; then customer by customer its content,
history, journal and files under their own keys, and the catalogue of its stored objects; then what was shipped up to the second; and only
when all of it was read back, and the chains recomputed, people and processes are let in.

Never: a signature by anybody but the kit's signer; anything written at a location; a row under another key than it had; a database that
holds something; a destroyed customer's content, or what was purged since. Where a location knows of changes that could not be had, nothing
is shipped, removed or written until a person starts the next timeline, so that no number is given twice.

Each step is one transaction and is recorded with it (`state`), so that a killed recovery is run again and goes on. A customer that cannot
be brought back whole is named and stays frozen; it stops no other.

`state` says how far it is and keeps everybody else out, `sources` finds the newest second of a stream, `loading` and `uploads` bring it
back, `rebuilt` and `shipped` make the catalogue from what lies at the locations, `checking` holds it against what was signed,
`carrying_out` is the order of all that.
"""
