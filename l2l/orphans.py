"""No orphans: a process asks the kernel to end it when its parent dies, however that dies. No Django here: any process may call it."""

from __future__ import annotations

import ctypes
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(sign: int = signal.SIGKILL) -> None:
    """From now on this process gets `sign` when its parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sign))
