"""A list as a spreadsheet or billing gives it: one CSV file with named columns, read whole within bounds, refused whole with every problem.

UTF-8 with or without a byte order mark; commas, semicolons or tabs, whichever the header has. The columns stand in any order behind the
first one, which names the row.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from subscriptions.importing.csvrows import read_rows
from subscriptions.importing.report import Problems, short, shown

MAX_BYTES = 20 * 1024**2
MAX_ROWS = 100_000
DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Columns:
    """The names that a header may have; the first required one stands first."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One row: `number` is the file's line on which it begins, `cells` are without the blanks around them; a column that the file does not
    have is not among them."""

    number: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """`sha256` is of the file as it was given."""

    sha256: str
    lines: tuple[Line, ...]


def read(file: BinaryIO, columns: Columns, problems: Problems) -> Sheet:
    """The rows without a problem; the problems of the others stand in `problems`. Raises `FileRefused` where no row is left."""
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        problems.add(f"is larger than {MAX_BYTES // 1024**2} MiB: that is no list of customers")
        problems.refuse()
    lines = tuple(_lines(content, columns, problems))
    if not lines and not problems:
        problems.add("has no rows below its header")
    if not lines:
        problems.refuse()
    return Sheet(hashlib.sha256(content).hexdigest(), lines)


def _lines(content: bytes, columns: Columns, problems: Problems) -> Iterator[Line]:
    first = columns.required[0]
    header_problems = partial(_header_problems, columns)
    rows = read_rows(io.BytesIO(content), problems, header_problems=header_problems, delimiter=_delimiter(content))
    for count, row in enumerate(rows, 1):
        if count > MAX_ROWS:
            problems.add(f"has more than {MAX_ROWS:,} rows: that is no list of customers", row.line)
            return
        cells = {name: cell.strip() for name, cell in ((first, row.reference), *row.cells.items())}
        unprintable = [name for name, cell in cells.items() if any(unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp") for one in cell)]
        for name in unprintable:
            problems.add("holds a line break or another character that nobody sees", row.line, name)
        if not unprintable:
            yield Line(row.line, cells)


def _delimiter(content: bytes) -> str:
    header = content.split(b"\n", 1)[0].decode("utf-8", "replace")
    return max(DELIMITERS, key=header.count)


def _header_problems(columns: Columns, header: list[str]) -> Iterator[str]:
    known = (*columns.required, *columns.optional)
    if header[0] != columns.required[0]:
        yield f"the first column is {short(header[0])!r} instead of {columns.required[0]!r}"
    for name in dict.fromkeys(header):
        if name not in known:
            yield f"there is no column {shown(short(name))!r} in such a list; there are {', '.join(known)}"
        if header.count(name) > 1:
            yield f"the column {shown(short(name))!r} stands there {header.count(name)} times"
    for name in columns.required[1:]:
        if name not in header:
            yield f"the column {name!r} is missing"
