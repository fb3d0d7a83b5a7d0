"""No orphans: a process asks the kernel to end it when its parent dies, however that dies. No Django here: any process may call it."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent, the process of that number, dies; at once when it is dead already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:  # it died before we could ask
        os._exit(1)


def let_forks_die_with_us() -> None:
    """Every process that is forked from here on, by this one or by a fork of it, dies with the one that forked it."""
    forking = [os.getpid()]

    def note() -> None:
        forking[0] = os.getpid()

    os.register_at_fork(before=note, after_in_child=lambda: die_with_parent(forking[0]))
