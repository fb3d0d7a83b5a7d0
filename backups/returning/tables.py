"""Rows of a set as CSV (RFC 4180, UTF-8), streamed: one header, one line a row, everything quoted where it must be."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from audit import canonical

PIECE = 256 * 1024


def csv_pieces(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """The file, some hundred KiB at a time."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    for row in rows:
        writer.writerow([cell(value) for value in row])
        if text.tell() >= PIECE:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def cell(value: Any) -> str:
    """Text as it is, nothing for null, all else as JSON: `true`, `12.5`, `{"a":1}`."""
    if value is None:
        return ""
    return value if isinstance(value, str) else canonical.dumps(value)
