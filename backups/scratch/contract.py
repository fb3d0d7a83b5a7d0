"""What a database to restore into does, and what is the same for every kind.

`open_scratch` reaches it and refuses what is not empty; then `create` and `load` each table, `finish_loading`, `lines` of each table to
compare, and `commit`. Until `commit` nobody else sees anything; without it `close` leaves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from backups.scratch.tables import Table

Fields = list[str | None]


class Scratch(Protocol):
    """`address` is shown and recorded, without a password; `troubles` are the exceptions of its driver, `words` what one of them says
    without quoting a row."""

    address: str
    troubles: tuple[type[Exception], ...]

    def words(self, problem: Exception) -> str: ...

    def create(self, table: Table) -> None:
        """The table, empty."""

    def load(self, table: Table, rows: Iterable[Fields]) -> None:
        """Puts rows of fields (as `lines.fields_of` gives them) into the table, however many there are."""

    def finish_loading(self) -> None:
        """All rows are in: keys, indexes, and on to reading."""

    def lines(self, table: Table) -> Iterator[bytes]:
        """Each row of the table as canonical JSON, in any order, from what the database holds."""

    def commit(self) -> None:
        """From now on it is there, and survives a power cut."""

    def close(self) -> None:
        """Lets go; what was not committed is gone."""


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
