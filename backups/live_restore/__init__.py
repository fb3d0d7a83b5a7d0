"""Bringing back, in a customer's live tables, the state of a moment that a backup holds (P14, P5; design section 8).

This overwrites what people work with, so what is never done here comes first:

- Nothing is written that two people did not decide on: the request keeps the digest of every difference that was shown, and the
  difference is computed anew for the approval and once more while nobody can write. If it moved, nothing is written and the
  request is void.
- Nothing is written behind history's back. Each added, changed and removed row is a change like any other, with who approved, who asked
  and why; so a second restore, to the state before, undoes the first. History itself is never restored, nor shortened.
- Nothing is half done. All rows are written, read back and compared in one transaction, which also ends the freeze and says that the
  request is executed. Killed before its commit nothing happened; killed after it everything did.
- No freeze that is not ours is ended, and ours never outlives us: a process that died leaves a frozen customer only until the next look
  (`carrying_out.recover`), which thaws it.
- No stored file is overwritten or removed. A file that the upload storage lost is put back under its name where nothing stands there.
- No content leaves the customer: the request, which lies in the system stream, has keys, counts and digests; examples are computed for
  who looks at them and are not kept.

In this order: **ask** (`requests.ask`: the state is opened, compared, refused if it is too much or cannot be written); **approve** (another
person, with the password, the same difference); **carry out** (`carrying_out.carry_out`): the customer's lease; freeze, which waits for
the writers under way; compare anew; put back lost files; one transaction through the freeze: delete, change, add, read back, thaw,
record; commit.

Undone by: asking for the state of the moment before. Stopped by: cancelling the request, until the commit.
"""
