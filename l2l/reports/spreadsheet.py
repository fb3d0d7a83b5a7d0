"""CSV for spreadsheets: RFC 4180, UTF-8 with a byte order mark (a spreadsheet takes it for another encoding else), streamed.

A spreadsheet runs a cell that begins with = + - @ or a tab. Such a text gets an apostrophe before it, and so does one that begins with an
apostrophe: whoever reads the file by a program takes one leading apostrophe away and has the text as it is. Plain numbers stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from backups.returning.tables import csv_pieces

MARK = b"\xef\xbb\xbf"
_RUN = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def csv_file(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The file, some hundred KiB at a time. A cell of None is empty."""
    yield MARK
    yield from csv_pieces(heads, ([as_text(one) for one in row] for row in rows))


def as_text(value: Any) -> str:
    """A cell that no spreadsheet runs."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" \u00a0").startswith(_RUN) and not _NUMBER.fullmatch(text) else text


def original(cell: str) -> str:
    """The text that became this cell."""
    return cell[1:] if cell.startswith("'") else cell
