"""What becomes of history when a deployment changes the tables (P8, design section 6; docs/operations.md, "Deploying a new version").

Never: a migration's doing passed off as somebody's, or somebody's as a migration's. What differed from history before the first
migration is written down before it runs and stays a difference; what differs behind the last one, and did not before, is the
migrations' doing and becomes tracked changes. Killed in between, the next `init` goes on from what was written down.

`former` gives the models as the database has them before; `differences` compares; `changing` keeps the order; `tracking` writes
history; `versions` signs what came of it; `lineage` leads from the columns that an old digest covers to today's.
"""
