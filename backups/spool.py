"""What a run keeps on a local disk until every place has it (design section 5): sealed blobs in a folder of the set's own, which goes
with the run, and long lists without a name. What a killed run left goes when its stream's next run begins."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from typing import IO

# A list of so many bytes waits in memory.
LISTED_IN_MEMORY = 1024 * 1024


def folder_of(spool: Path, stream: uuid.UUID, ident: uuid.UUID) -> Path:
    """Where the sealed blobs of one set wait; the caller makes it when it has any."""
    return spool / f"{stream}+{ident}"


def listing(spool: Path) -> IO[str]:
    """A list to be written and then read once, however long it is."""
    spool.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.SpooledTemporaryFile(LISTED_IN_MEMORY, mode="w+", encoding="utf-8", newline="\n", dir=str(spool))


def clear(spool: Path, stream: uuid.UUID) -> None:
    """Removes what runs of the stream left. The caller holds its lease: whoever still writes there has lost it, and its set with it.
    What cannot be removed now stands in the way of nothing and is tried again by each run."""
    for left in spool.glob(f"{stream}+*"):
        shutil.rmtree(left, ignore_errors=True)
