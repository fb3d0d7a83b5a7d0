"""Content past its term goes, and never comes back (P9; design section 7).

Never here: a removal without two people's decision, before an item's own last day, under a hold, while the customer is frozen, or of an
item that changed since the approval (its term began anew, and the request is void). Never a row that a kept row points at.

The order is safety. In one fenced transaction for some items at a time: the hold is looked for, the items are found unchanged, their part
of the suppression list is written, then rows and history go and the journal forgets the salts; leaf digests, numbers and chain stay. After
the commit their files go, and everything is read back. Killed anywhere, the next look goes on: what has gone counts as part of what was
approved. It cannot be undone: the sets made before hold the items until retention removes them, and no way out of a set gives them back.
"""
