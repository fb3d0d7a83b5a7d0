"""The content of a customer as it was at any second, read like a set (P14; design section 6).

A set holds the whole history and its journal, so a moment before it is that history cut at the number of the moment; behind it the changes
of the segments follow. Rows are the newest image of each object up to that number, in a workspace on disk, for there may be a million of
them. What a set's snapshot saw committed but not numbered does not count until a segment gives it its number.

Nothing is guessed: a moment whose state is not proved (`NotCovered`), a missing segment or number (`Gap`) and a journal that does not
hold are errors that say where.

`making` chooses the set and finds the number, `reader` gives the content, `workspace` holds what does not fit in memory.
"""
