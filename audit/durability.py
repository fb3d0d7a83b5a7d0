"""What was written stays written through a power cut: neither a file's bytes nor a folder's entries are on disk for good before that."""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """The file's bytes, or the folder's entries, are on disk for good when it returns. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
