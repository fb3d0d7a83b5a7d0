"""The ledger of what was owed, and its picture (P6): years of months, weeks and nights, each with the set that fills it.

`picture` says what each cell shows (pure), `reading` brings it what the rows know of one stream, in a number of queries that does not
grow with its sets.
"""
