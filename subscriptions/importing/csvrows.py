"""The rows of one CSV file, streamed, with every problem named by line and column.

RFC 4180 as UTF-8 (with or without a byte order mark), commas, one header row. A field may hold line breaks; lines are the file's own. A
line without any character is no row.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from audit import canonical
from subscriptions.importing.report import Problems, counted, short

MAX_FIELD = 8 * 1024 * 1024
MAX_ROW = 32 * 1024 * 1024
PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Row:
    """`line` is the one on which the row begins; `cells` are the other columns by header name, as text (from JSON: any value); `size`
    counts characters."""

    line: int
    reference: str
    cells: Any
    size: int


class _RowTooLong(Exception):
    """More characters than a row may have."""


class _Lines:
    """The physical lines of a file for the csv module; bounded, since it may be no text at all."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self.row_size = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._text.readline(MAX_ROW):
            self.row_size += len(line)
            if self.row_size > MAX_ROW:
                raise _RowTooLong
            yield line


def read_rows(
    file: BinaryIO,
    problems: Problems,
    *,
    columns: tuple[str, ...] | None = None,
    header_problems: Callable[[list[str]], Iterable[str]] | None = None,
    delimiter: str = ",",
) -> Iterator[Row]:
    """The rows without a problem; the others stand in `problems` afterwards. `columns` is the header that the file must have, if any;
    `header_problems` says what else is wrong with one.

    Goes on after a row's problem; ends at the first byte that is not UTF-8 and at quoting that cannot be read.
    """
    csv.field_size_limit(MAX_FIELD)
    # Undecodable bytes come through as lone surrogates, so that the row which holds one can be named.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    reader = _Reader(lines, problems, delimiter)
    try:
        header = reader.header(header_problems or partial(_header_problems, columns=columns))
        if header:
            yield from reader.rows(header)
    except _Undecodable as where:
        problems.add(_first_undecodable(file), where.line, where.column)
    except _RowTooLong:
        problems.add(f"the row is longer than {MAX_ROW // 1024**2} Mi characters; is a quote not closed?", reader.line)
    except csv.Error as problem:
        problems.add(_explained(problem), reader.line)
    finally:
        text.detach()


class _Undecodable(Exception):
    def __init__(self, line: int, column: str | None) -> None:
        self.line = line
        self.column = column


class _Reader:
    def __init__(self, lines: _Lines, problems: Problems, delimiter: str) -> None:
        self._lines = lines
        self._problems = problems
        self._csv = csv.reader(iter(lines), strict=True, delimiter=delimiter)
        self.line = 1  # on which the row being read begins

    def header(self, problems_of: Callable[[list[str]], Iterable[str]]) -> list[str] | None:
        """The header's names, or None with the problem noted."""
        header = self._next()
        if header is None:
            self._problems.add("is empty: the header row is missing")
            return None
        self._check_text([f"number {number}" for number in range(1, len(header) + 1)], header)
        for problem in problems_of(header):
            self._problems.add(problem, self.line)
        return None if self._problems else header

    def rows(self, header: list[str]) -> Iterator[Row]:
        names = header[1:]
        while (cells := self._next()) is not None:
            if len(cells) != len(header):
                self._problems.add(f"has {counted(len(cells), 'field')}; the header has {len(header)}", self.line)
            elif self._check_text(header, cells) and self._check_reference(header[0], cells[0]):
                yield Row(self.line, cells[0], dict(zip(names, cells[1:], strict=True)), self._lines.row_size)

    def _next(self) -> list[str] | None:
        """The next row that is not just a line break; None at the end."""
        cells: list[str] = []
        while not cells:
            self.line, self._lines.row_size = self._csv.line_num + 1, 0
            try:
                cells = next(self._csv)
            except StopIteration:
                return None
        return cells

    def _check_text(self, header: list[str], cells: list[str]) -> bool:
        try:
            canonical.check_text("".join(cells))
        except canonical.NotCanonical:
            for column, cell in zip(header, cells, strict=True):
                self._check_cell(column, cell)
            return False
        return True

    def _check_cell(self, column: str, cell: str) -> None:
        if any("\udc80" <= character <= "\udcff" for character in cell):
            raise _Undecodable(self.line, column)
        try:
            canonical.check_text(cell)
        except canonical.NotCanonical as problem:
            self._problems.add(str(problem), self.line, column)

    def _check_reference(self, column: str, reference: str) -> bool:
        if reference.strip():
            return True
        self._problems.add("the reference is missing", self.line, column)
        return False


def _header_problems(header: list[str], columns: tuple[str, ...] | None) -> Iterator[str]:
    if columns is not None and (sorted(header) != sorted(columns) or header[0] != columns[0]):
        yield f"the header is {short(','.join(header))} instead of {','.join(columns)}"
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        yield "the header is one column; separate columns with commas"
    first: dict[str, int] = {}
    for number, name in enumerate(header, 1):
        if not name.strip():
            yield f"column {number} has no name"
        elif first.setdefault(name, number) != number:
            yield f"the columns {first[name]} and {number} are both named {short(name)}"


def _explained(problem: csv.Error) -> str:
    text = str(problem)
    if "field larger" in text:
        return f"a field is longer than {MAX_FIELD // 1024**2} Mi characters; is a quote not closed?"
    if "unexpected end of data" in text:
        return "a quoted field that begins in this row is never closed"
    return f"cannot be read as CSV: {text}"


def _first_undecodable(file: BinaryIO) -> str:
    """Says which byte is not UTF-8, by its offset in the file."""
    file.seek(0)
    decoder, consumed = codecs.getincrementaldecoder("utf-8")(), 0
    while True:
        piece = file.read(PIECE_BYTES)
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as problem:
            offset, byte = consumed - pending + problem.start, problem.object[problem.start]
            return f"is not UTF-8 at byte offset {offset} (0x{byte:02x}); save the file as UTF-8"
        if not piece:
            return "was not UTF-8 a moment ago and is now: it changes while it is read"
        consumed += len(piece)
