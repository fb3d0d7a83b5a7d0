"""Sets leave by retention (P6, P9; design sections 5 and 7). What `backups.retention` decides is read, recorded and carried out here.

Never: a set because there are many; one on a clock that is in doubt; one of a customer under a legal hold; one that somebody reads; the
newest good or the newest proved one; anything while the newest good set is older than 48 hours, or while this database knows less than a
location. And an object is never removed before one transaction, under the customer's lease, found that no set names it.

In this order: weeks and months that are over get their set (`deciding`), once; the sets that no rule keeps leave in one transaction, which
also condemns what nobody names any more (`carrying_out`); then envelopes go, bodies, blobs, everywhere (`backups.removing`); a set is
*removed* when nothing of its own is listed at any location. Killed anywhere, the next pass goes on from there.
"""
