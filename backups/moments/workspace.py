"""A database of its own for the length of one restore: what does not fit in memory when a customer has a million rows.

It holds plain content, so its file has no name any more once it is open: nobody finds it, and it is gone with the process that made it,
however that ends.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

CACHE_KIB = 64 * 1024
ROWS_AT_ONCE = 1000


class Workspace:
    """SQLite in a folder of the spool that only this user can open (0700), and that is removed at once."""

    def __init__(self, spool: Path, schema: str, on_close: Callable[[], None] = lambda: None) -> None:
        self._on_close = on_close
        spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = Path(tempfile.mkdtemp(prefix="workspace-", dir=spool))
        try:
            # A generator that reads from it may be ended by another thread.
            self._connection = sqlite3.connect(folder / "workspace.sqlite3", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", f"cache_size = -{CACHE_KIB}"):
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._connection.executescript(schema)
            self._connection.execute("BEGIN")
        finally:
            shutil.rmtree(folder)

    def run(self, statement: str, *values: Any) -> None:
        self._connection.execute(statement, values)

    def fill(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(statement, rows)

    def each(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows, a few at a time. What is written meanwhile must not be to the table that is read."""
        cursor = self._connection.execute(statement, values)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows

    def one(self, statement: str, *values: Any) -> Any:
        """The only value that it gives; None when it gives none."""
        found = self._connection.execute(statement, values).fetchone()
        return found[0] if found else None

    def close(self) -> None:
        self._connection.close()
        self._on_close()
