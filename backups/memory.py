"""Memory that is given back. Sealed blobs are blocks of 8 MiB, and several threads handle them."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD in glibc's malloc.h
_LARGE_BYTES = 1_000_000


def give_back_large_blocks() -> None:
    """From now on a large block that is freed goes back to the system at once.

    By itself glibc raises its threshold to the size of the first large block that is freed, and then keeps such blocks for each
    thread: the peak of a backup of 300 MB to two buckets was 245 MB with that and 199 MB without. Elsewhere it does nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
