"""Rows as lines of canonical JSON: taken apart into fields, and added up so that two heaps of them can be compared (pure)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backups.manifest import BadManifest
from backups.scratch.tables import Column, Table

# Kinds whose fields are the JSON text as it stands in the line: exact, and what a database reads a number from.
AS_WRITTEN = frozenset(("integer", "boolean", "float", "duration", "json"))
_MASK = 2**256 - 1
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


@dataclass(slots=True)
class Tally:
    """How many rows, and the sum modulo 2^256 of the SHA-256 of each line.

    A row that is lost, doubled or changed changes the sum; the order of rows does not, for a table has none, and every database sorts
    text in its own way.
    """

    rows: int = 0
    total: int = 0

    def add(self, line: bytes) -> None:
        self.rows += 1
        self.total = (self.total + int.from_bytes(hashlib.sha256(line).digest(), "big")) & _MASK

    @property
    def sum(self) -> str:
        return f"{self.total:064x}"

    def counting(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines, each added up as it passes."""
        for line in lines:
            self.add(line)
            yield line


def fields_of(table: Table, lines: Iterable[bytes]) -> Iterator[list[str | None]]:
    """The fields of each row, in the order of the table's columns: None for null, the text of what is text in JSON, else as written.

    Raises `BadManifest` for a line that has not just these columns in this order.
    """
    shape = [(f"{'{' if number == 0 else ','}{json_text(column.name)}:", *_reading(column)) for number, column in enumerate(table.columns)]
    for line in lines:
        yield _fields(table, shape, line.decode())


def _reading(column: Column) -> tuple[bool, bool]:
    # JSON's own null in a column that takes no null is a value.
    return column.kind in AS_WRITTEN, column.null or column.kind != "json"


def _fields(table: Table, shape: Sequence[tuple[str, bool, bool]], text: str) -> list[str | None]:
    fields: list[str | None] = []
    position = 0
    try:
        for head, as_written, null in shape:
            if not text.startswith(head, position):
                raise BadManifest(f"a row of {table.name} has other columns than the set says")
            position += len(head)
            value, end = _scan(text, position)
            fields.append(None if value is None and null else text[position:end] if as_written else _text(table, value))
            position = end
    except (StopIteration, ValueError):
        raise BadManifest(f"a row of {table.name} is not JSON") from None
    if text[position:] != "}":
        raise BadManifest(f"a row of {table.name} has other columns than the set says")
    return fields


def _text(table: Table, value: Any) -> str:
    if type(value) is not str:
        raise BadManifest(f"a row of {table.name} has a value of another kind than the set says")
    return value


def json_text(text: str) -> str:
    """A text as canonical JSON writes it."""
    return json.dumps(text, ensure_ascii=False)


def index_lines(entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """The lines of a table of files, from the entries of the set's part."""
    for number, entry in enumerate(entries, 1):
        kept = {"absent": bool(entry.get("absent")), **{name: entry[name] for name in ("name", "sha256", "size")}, "number": number}
        yield json.dumps(kept, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
