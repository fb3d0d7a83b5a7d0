"""The end of a customer (P10 to P12; design section 9): asked for, returned, received, approved, destroyed.

Never here: a state that the table of moves (`states.py`) does not lead to; a receipt of another package than the one that was made;
an approval by somebody who took part before, whose right is younger than a day, or of another plan than what would be destroyed; a clock
that waits for bills. What touches data and copies (freeze, package, destruction) is done by `backups.returning` and `backups.destroy`,
which move the request on through these verbs.
"""
