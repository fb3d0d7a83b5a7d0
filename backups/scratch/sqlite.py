"""A new SQLite file as the target of a restore: written under another name, read back through a new connection, then named.

Values that SQLite has no exact type for are text as in the set: decimals (SQLite would keep 15 digits), times, UUIDs with dashes, JSON.
"""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.db import connection as own_connection

from audit import canonical
from audit.durability import flush
from backups.errors import TargetInTheWay, TargetUnusable
from backups.scratch.contract import Fields, quoted
from backups.scratch.lines import json_text
from backups.scratch.tables import Column, Table

_TYPES = {"integer": "INTEGER", "duration": "INTEGER", "boolean": "BOOLEAN", "float": "REAL", "binary": "BLOB"}
_BOUND: dict[str, Callable[[str], Any]] = {
    "integer": int,
    "duration": int,
    "boolean": lambda text: text == "true",
    "float": float,
    "binary": lambda text: base64.b64decode(text, validate=True),
}
_JSON: dict[str, Callable[[Any], str]] = {
    "integer": str,
    "duration": str,
    "boolean": lambda value: "true" if value else "false",
    "float": canonical.dumps,
    "json": str,
    "binary": lambda value: f'"{base64.b64encode(value).decode()}"',
}
# Until it has its name the file is nobody's: no journal, and flushed once at the end.
_PRAGMAS = ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE")


class SqliteScratch:
    """The file at `path`, which must not exist. Raises `TargetInTheWay`, `OSError`."""

    troubles: tuple[type[Exception], ...] = (sqlite3.Error,)

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.address = f"sqlite:///{self.path}"
        self._partial = self.path.with_name(f"{self.path.name}.incomplete-{os.getpid()}")
        self._tables: list[Table] = []
        self._refuse_target()
        os.close(os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        self.connection = sqlite3.connect(self._partial, isolation_level=None)
        for pragma in _PRAGMAS:
            self.connection.execute(f"PRAGMA {pragma}")
        self.connection.execute("BEGIN")

    def _refuse_target(self) -> None:
        if os.path.lexists(self.path):
            own = own_connection.vendor == "sqlite" and self.path.exists() and self.path.samefile(own_connection.settings_dict["NAME"])
            what = "is this installation's own database" if own else "is there already"
            raise TargetInTheWay(f"{self.path} {what}. Name a new file.")
        if not self.path.parent.is_dir():
            raise TargetInTheWay(f"{self.path.parent} is no folder. Make it first, or name another.")

    def words(self, problem: Exception) -> str:
        hint = f" See whether the disk of {self.path.parent} is full or failing." if isinstance(problem, sqlite3.OperationalError) else ""
        return f"{problem}.{hint}"

    def create(self, table: Table) -> None:
        columns = ", ".join(
            f"{quoted(one.sql_name)} {_TYPES.get(one.kind, 'TEXT')}{'' if one.null else ' NOT NULL'}{_key_of(table, one)}"
            for one in table.columns
        )
        self.connection.execute(f"CREATE TABLE {quoted(table.name)} ({columns})")
        self._tables.append(table)

    def load(self, table: Table, rows: Iterable[Fields]) -> None:
        binders = [_BOUND.get(column.kind, str) for column in table.columns]
        bound = ([None if field is None else bind(field) for bind, field in zip(binders, fields, strict=True)] for fields in rows)
        holders = ", ".join("?" for _ in table.columns)
        self.connection.executemany(f"INSERT INTO {quoted(table.name)} VALUES ({holders})", bound)  # noqa: S608  (names are quoted)

    def finish_loading(self) -> None:
        for table in self._tables:
            for name, column in table.indexes:
                self.connection.execute(f"CREATE INDEX {quoted(name)} ON {quoted(table.name)} ({quoted(column.sql_name)})")
        self.connection.execute("COMMIT")
        self.connection.close()
        flush(self._partial)
        self.connection = sqlite3.connect(f"file:{quote(str(self._partial))}?mode=ro", uri=True, isolation_level=None)

    def lines(self, table: Table) -> Iterator[bytes]:
        heads = [f"{',' if number else '{'}{json_text(column.name)}:" for number, column in enumerate(table.columns)]
        writers = [_JSON.get(column.kind, json_text) for column in table.columns]
        names = ", ".join(quoted(column.sql_name) for column in table.columns)
        with closing(self.connection.execute(f"SELECT {names} FROM {quoted(table.name)}")) as rows:  # noqa: S608  (names are quoted)
            for row in rows:
                fields = (
                    head + ("null" if value is None else write(value)) for head, write, value in zip(heads, writers, row, strict=True)
                )
                yield ("".join(fields) + "}").encode()

    def commit(self) -> None:
        try:
            os.link(self._partial, self.path)
        except FileExistsError:
            raise TargetInTheWay(f"{self.path} has come to be meanwhile. Name a new file.") from None
        except OSError as problem:
            raise TargetUnusable(f"{self.path} cannot be linked ({problem.strerror}): choose a file system with hard links.") from None
        flush(self.path.parent)

    def close(self) -> None:
        self.connection.close()
        self._partial.unlink(missing_ok=True)


def _key_of(table: Table, column: Column) -> str:
    return " PRIMARY KEY" if column.name == table.key else ""
