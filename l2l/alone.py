"""One `init` at a time: two would both take the migrations' doing for theirs to write down.

PostgreSQL holds a lock for as long as the connection lives, on whichever machine the process runs; beside SQLite, whose file is on this
machine, a lock on a file does. Both end with the process.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connections

from backups.errors import BackupError

KEY = 0x4C324C  # "L2L"
LOCK = "init.lock"


class AlreadyAtWork(BackupError):
    """Another 'manage.py init' is at work on this installation. Wait until it has ended, then run it again: what it did is not repeated."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__))


@contextmanager
def alone() -> Iterator[None]:
    """Raises `AlreadyAtWork`. `L2L_HOME` exists."""
    if connections["default"].vendor == "postgresql":
        yield from _locked_in_the_database()
        return
    with (settings.L2L_HOME / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyAtWork from None
        yield


def _locked_in_the_database() -> Iterator[None]:
    own = connections["default"].copy()
    try:
        with own.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEY])
            if not cursor.fetchone()[0]:
                raise AlreadyAtWork
        yield
    finally:
        own.close()
