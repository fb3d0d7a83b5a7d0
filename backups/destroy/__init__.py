"""The end of a customer: everything of it goes, everywhere, and it is proved (P12; design section 9). It cannot be undone.

Never here: a removal without an approval that is bound to a stored plan, before its cooling-off is over, under a legal hold (looked for
when it is planned, approved, and before each step and each hundred objects), while the clock is in doubt, or while a location knows more
than this database. Never a begin when something lies at a location that the plan does not list, when rows were added behind the freeze, or
when something durable vanished that no recorded act removed: then the approval is void, and people look. Never a prefix but the
customer's own, with its `/` at the end: `acme` is not `acme2`, and ids are not codes. Never another customer's section: segments go by the
removal that copies out what others need. Never a key made again: `ended/<id>.json` stands at a location before the first removal there,
and backups, restores, key making, the shipper and a recovery obey it. Never a certificate before all of it was seen to be gone, twice.

What is listed counts, not what rows say: every name, every version, every marker and unfinished upload under `customers/<id>/` and
`keys/<id>/`, and each segment whose index names the customer. The plan is made by the same listing as the removal and the sweeps
(`inventory.py`, `hot_objects.py`), so what was approved is what goes, and what is looked for afterwards.

The order is safety (`carrying_out.py`):

1. **marker** at each location. From the first one on nobody makes anything of the customer.
2. **rows**: live rows, history and journal by raw SQL, children first. No history is made of it, and no journal: there is no one to ship.
3. **uploads**: the files of every version.
4. **texts**: admin log, queue, exports, what runs and proofs said. After the rows: an entry of the log whose object no history knows is
   blanked, so a killed run finds again what it had begun.
5. **segments**, **aside**: sections in segments, damaged segments set aside.
6. **objects** at each location: envelopes first, then bodies, then the rest, so that no set stands without what it names.
7. **package**, **exports**: what was handed over and still lies here, scratch databases, spool.
8. **catalogue**: the rows about objects.
9. **keys** last, at each location whose objects are gone: every wrapping, every version.

Each step is a row before its first removal, and again when a fresh look found nothing (`DestructionStep`). Each is safe to repeat, so a
process killed anywhere is gone on with by the next look. A location that is down has its steps waiting with their trouble while the others
go on; one that the environment names no more waits for a person's word. Then all places are listed again: at once, after a day (only then
the certificate), after a week (`sweeping.py`). What is found opens the case again, and every step is taken again.

What stays is evidence: the customer's row with name and code, contracts, requests, receipts, holds, events, sets and nights as ids and
counts, these steps. The `Stream` row stays too, frozen for ever, so that id and code are never used again.
"""
