"""CSV for spreadsheets: RFC 4180, UTF-8 with a byte order mark (a spreadsheet takes it for another encoding else), streamed, and no cell a
formula (`audit.formulas`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from audit.formulas import as_text
from backups.returning.tables import csv_pieces

MARK = b"\xef\xbb\xbf"


def csv_file(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The file, some hundred KiB at a time. A cell of None is empty."""
    yield MARK
    yield from csv_pieces(heads, ([as_text(one) for one in row] for row in rows))
