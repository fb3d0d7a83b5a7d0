"""The rows of one part out of PostgreSQL, by COPY (design section 5): a small part in one statement, a large one in blocks.

COPY is three times as fast as a cursor, and its binary form escapes nothing (measured). What remains is dear by the row, here and there:
so in a block of a large part the server joins the lines of some hundred rows, between two keys at which no chunk ends. It does not where
the keys lie far apart or a row is long: such rows come one by one, and neither side ever holds more than a few MiB of them.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from django.db import OperationalError, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from psycopg import pq

from audit import rows
from backups.ahead import ahead, alternately
from backups.chunks import Batch, Joined, next_end

# A part that ends within them takes one statement and no thread.
FIRST_ROWS = 4096
# What one statement reads; it takes the server two milliseconds to begin with.
BLOCK_ROWS = 32_768
# Blocks that are laid out at a time, and how many make a second connection worth opening.
STRETCH, BLOCKS_FOR_TWO = 32, 4
JOINED_ROWS = 512
# Keys that lie further apart, on average, leave too few rows between two ends of chunks to be worth joining.
SPARSE = 16
# A row with more in its long columns comes alone.
LONG_BYTES = 8 * 1024
# A column of at most so many characters is never long.
SHORT_CHARACTERS = 1000
# After a block with a long row the next ones come row by row: one, then three, and so on up to this.
MAX_WARY = 15
READ_BYTES = 1024 * 1024
READS_AHEAD = 16
MAX_KEY = 2**63 - 1

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEAD_BYTES = len(_SIGNATURE) + 8  # flags, and the length of an extension: none
_END_BYTES = 2
# Each row: 2 bytes that count its columns, then for each 4 bytes of length (-1: null) and its bytes. Eight bytes hold an integer.
_FIRST, _SECOND = slice(6, 14), slice(18, 26)
_AFTER_ONE, _AFTER_TWO = 18, 30

T = TypeVar("T", bytes, memoryview)
Read = Sequence[Batch | Joined]
Companion = Callable[[], AbstractContextManager[BaseDatabaseWrapper | None]]
R = TypeVar("R", Read, Read | None)


def copied(connection: BaseDatabaseWrapper, queryset: models.QuerySet, text: RawSQL, companion: Companion) -> Iterator[Batch | Joined]:
    """The rows of a queryset with their `text` (of one row), in the order of the primary key.

    `companion` gives another connection that sees the same, for the length of a block, or None; a large part asks for it.
    """
    part = _Part(connection, queryset, text)
    if not part.integer_keys:
        reads: Iterator[Read] = ahead(_weighed([batch] for batch in part.singly()), READS_AHEAD)
    else:
        walk = _Walk(part, companion)
        yield from walk.first()
        reads = walk.rest()
    for several in reads:
        yield from several


def _weighed(reads: Iterator[R]) -> Generator[R | Read, None, None]:
    """After one that is longer than a MiB as many empty ones, so that what waits stays bounded however long the rows are."""
    for several in reads:
        yield several
        yield from [()] * (sum(map(_size, several or ())) // READ_BYTES - 1)


def _size(batch: Batch | Joined) -> int:
    return len(batch.text) if isinstance(batch, Joined) else sum(map(len, batch.lines))


@dataclass(frozen=True, slots=True)
class _Range:
    """Keys above `low`, up to `high`; None is no limit. `rows` is how many to take."""

    low: int | None = None
    high: int | None = None
    rows: int | None = None


class _Part:
    """The statements that read one part."""

    def __init__(self, connection: BaseDatabaseWrapper, queryset: models.QuerySet, text: RawSQL) -> None:
        self.connection = connection
        self.integer_keys = isinstance(queryset.model._meta.pk, models.IntegerField)
        self.whole, self.text = queryset, text
        key = Cast("pk", models.BigIntegerField() if self.integer_keys else models.TextField())
        self.queryset = queryset.order_by("pk").annotate(copied_key=key, canonical_text=text)
        self._joining = ""

    def singly(self, wanted: _Range = _Range()) -> Generator[Batch, None, None]:
        """The rows one by one, some at a time."""
        queryset = _between(self.queryset, wanted.low, wanted.high)[: wanted.rows]
        statement = self._sql(queryset.values_list("copied_key", "canonical_text"))
        with closing(self._copy_out(statement, bytes)) as reads:
            for read in reads:
                yield _with_integer_keys(read) if self.integer_keys else _with_text_keys(read)

    def jointly(self, ranges: list[tuple[int, int]]) -> Generator[list[memoryview], None, None]:
        """For each of the ranges (above, up to) that has rows: their number, their last key, and their lines, joined; null where one of
        them is long (or has no text)."""
        lows, highs = (",".join(map(str, bounds)) for bounds in zip(*ranges, strict=True))
        spans = f"unnest('{{{lows}}}'::bigint[],'{{{highs}}}'::bigint[]) AS span (low, high)"
        self._joining = self._joining or self._joined_rows()
        statement = f"SELECT lines.* FROM {spans} CROSS JOIN LATERAL ({self._joining}) AS lines"  # noqa: S608  (numbers)
        yield from self._copy_out(statement, _as_it_came)

    def _joined_rows(self) -> str:
        short = RawSQL(f"CASE WHEN {_is_short(self.queryset.model, self.connection)} THEN {self.text.sql} END", [])  # noqa: S611
        within = _between(self.queryset, "span.low", "span.high").annotate(short_text=short).values_list("copied_key", "short_text")
        lines = "CASE WHEN count(*) = count(canonical_text) THEN string_agg(canonical_text, E'\\n' ORDER BY copied_key) END"
        rows_of_text = f"({self._sql(within)}) AS line (copied_key, canonical_text)"
        return f"SELECT count(*), max(copied_key), {lines} FROM {rows_of_text} HAVING count(*) > 0"  # noqa: S608  (Django's own)

    def on(self, connection: BaseDatabaseWrapper) -> _Part:
        return _Part(connection, self.whole, self.text)

    def newest(self) -> int:
        """The largest key; there is at least one."""
        with self.connection.cursor() as cursor:
            cursor.execute(self._sql(self.queryset.order_by("-pk").values_list("copied_key")[:1]))
            return int(cursor.fetchone()[0])

    def be_quick(self) -> None:
        """Compiling each block's expressions takes the server longer than computing them."""
        with self.connection.cursor() as cursor:
            cursor.execute("SET LOCAL jit = off")

    def _sql(self, queryset: models.QuerySet) -> str:
        statement, parameters = queryset.query.get_compiler(connection=self.connection).as_sql()
        # Django lends its cursors to the thread that opened the connection alone, and others read ahead on it.
        return str(psycopg.ClientCursor(self.connection.connection).mogrify(statement, parameters))

    def _copy_out(self, statement: str, kept: Callable[[memoryview], T]) -> Generator[list[T], None, None]:
        return copy_out(self.connection.connection, f"COPY ({statement}) TO STDOUT (FORMAT binary)", kept)


class _Walk:
    """Along the integer keys of one part; what was read says how the next keys are read.

    Where rows lie dense it goes in stretches of blocks, each block a statement. With a second connection the server makes two blocks at a
    time, for one of its processes takes longer to make rows than we to store them (measured).
    """

    def __init__(self, part: _Part, companion: Companion) -> None:
        self.part, self.companion = part, companion
        self.last = 0
        self.spacing = 1  # keys to a row, on average
        self.ended = False
        # Blocks to read row by row after one with a long row. Two threads change it; whatever it is, the same rows come.
        self._wary = self._row_by_row = 0

    def first(self) -> Iterator[Batch]:
        yield from self._noted(_Range(rows=FIRST_ROWS))

    def rest(self) -> Iterator[Read]:
        """What comes after the first rows, about a MiB at a time."""
        if self.ended:
            return
        self.part.be_quick()
        newest = self.part.newest()
        while not self.ended:
            if self.spacing <= SPARSE:
                yield from self._stretch(newest)
            else:
                rows_one_by_one = self._noted(_Range(low=self.last, rows=BLOCK_ROWS))
                yield from ahead(_weighed([batch] for batch in rows_one_by_one), READS_AHEAD)

    def _noted(self, wanted: _Range) -> Iterator[Batch]:
        """The rows one by one; afterwards it is known how far they went."""
        first, found = 0, 0
        for batch in self.part.singly(wanted):
            first = first if found else int(batch.key_of(0))
            found += len(batch.lines)
            self.last = int(batch.key_of(len(batch.lines) - 1))
            yield batch
        self.ended = found < (wanted.rows or 0)
        self.spacing = _spacing(self.last - first, found)

    def _stretch(self, newest: int) -> Iterator[Read]:
        length = BLOCK_ROWS * self.spacing
        end = min(self.last + STRETCH * length, newest)
        blocks = [(begin, min(begin + length, end)) for begin in range(self.last, end, length)]
        begin, found = self.last, 0
        with self._parts(len(blocks)) as parts:
            lanes = [_weighed(self._blocks(part, blocks[at :: len(parts)])) for at, part in enumerate(parts)]
            for several in alternately(lanes, READS_AHEAD):
                for batch in several:
                    found += self._follow(batch)
                yield several
        self.spacing = _spacing(end - begin, found)
        self.last, self.ended = end, end == newest

    @contextmanager
    def _parts(self, blocks: int) -> Iterator[list[_Part]]:
        with self.companion() if blocks >= BLOCKS_FOR_TWO else nullcontext() as other:
            parts = [self.part] if other is None else [self.part, self.part.on(other)]
            for part in parts[1:]:
                part.be_quick()
            yield parts

    def _blocks(self, part: _Part, blocks: list[tuple[int, int]]) -> Iterator[Read | None]:
        """Runs in a thread of its own. After each block a None: the next one is the other connection's."""
        for begin, end in blocks:
            if self._row_by_row:
                self._row_by_row -= 1
                yield from ([batch] for batch in part.singly(_Range(low=begin, high=end)))
            else:
                yield from self._jointly(part, begin, end)
            yield None

    def _jointly(self, part: _Part, begin: int, end: int) -> Iterator[Read]:
        together = True
        with closing(part.jointly(ranges(begin, end, JOINED_ROWS * self.spacing))) as reads:
            while together and (read := next(reads, None)):
                several, together = _joined(read)
                begin = several[-1].last if several else begin
                yield several
        if not together:
            yield from ([batch] for batch in part.singly(_Range(low=begin, high=end)))
        self._wary = 0 if together else min(2 * self._wary + 1, MAX_WARY)
        self._row_by_row = self._wary

    def _follow(self, batch: Batch | Joined) -> int:
        """How many rows. The server goes through the ranges in the order in which they are given: were it not so, it must not go unseen."""
        rows_here = batch.rows if isinstance(batch, Joined) else len(batch.lines)
        last = batch.last if isinstance(batch, Joined) else int(batch.key_of(rows_here - 1))
        if last <= self.last:
            raise OperationalError(f"The rows came in another order than that of their keys: {last} after {self.last}.")
        self.last = last
        return rows_here


def _spacing(keys: int, found: int) -> int:
    return max(1, -(-keys // max(1, found)))


def ranges(low: int, high: int, length: int) -> list[tuple[int, int]]:
    """The keys above `low` up to `high` as ranges (above, up to) of at most `length`, so that a chunk ends nowhere but at their ends."""
    found: list[tuple[int, int]] = []
    while low < high:
        upper = min(low + length, next_end(low + 1), high)
        found.append((low, upper))
        low = upper
    return found


def _between(queryset: models.QuerySet, low: int | str | None, high: int | str | None) -> models.QuerySet:
    """Bounds are SQL, as Django would find a number too large for the column and ask nothing."""
    if low is not None:
        queryset = queryset.filter(pk__gt=RawSQL(str(low), [], models.BigIntegerField()))  # noqa: S611  (a number or our own column)
    if high is not None:
        queryset = queryset.filter(pk__lte=RawSQL(str(high), [], models.BigIntegerField()))  # noqa: S611
    return queryset


def _is_short(model: type[models.Model], connection: BaseDatabaseWrapper) -> str:
    """SQL for whether a row's text cannot be long; the length of a column is known without reading it."""
    quote = connection.ops.quote_name
    names = [
        f"{quote(model._meta.db_table)}.{quote(str(field.column))}"
        for field in model._meta.concrete_fields
        if rows.kind_of(field) in ("text", "json") and not (field.max_length and field.max_length <= SHORT_CHARACTERS)
    ]
    lengths = "+".join(f"coalesce(octet_length({name}),0)" for name in names)
    return f"{lengths}<={LONG_BYTES}" if names else "true"


def copy_out(connection: psycopg.Connection, statement: str, kept: Callable[[memoryview], T]) -> Generator[list[T], None, None]:
    """The rows as COPY writes them, some at a time, each made to what is `kept`: many short ones are taken apart sooner as bytes.

    psycopg's own copy() waits for each row in Python, which costs more than all the rest (measured), and libpq's own waiting would hold
    up every other thread.
    """
    wire = connection.pgconn
    begun = wire.exec_(statement.encode())
    if begun.status != pq.ExecStatus.COPY_OUT:
        raise OperationalError(begun.error_message.decode(errors="replace"))
    arrival = select.poll()
    arrival.register(wire.socket, select.POLLIN)
    size = 1
    try:
        gathered: list[T] = []
        gathered_bytes = 0
        while size >= 0:
            size, data = wire.get_copy_data(1)
            if size > 0:
                gathered.append(kept(data))
                gathered_bytes += size
            elif size == 0:
                arrival.poll()
                wire.consume_input()
            if gathered_bytes >= READ_BYTES:
                yield from _unframed(gathered)
                gathered, gathered_bytes = [], 0
        yield from _unframed(gathered)
    finally:
        while size >= 0:  # nobody wants the rest, and the connection serves nothing else before its end
            size, _ = wire.get_copy_data(0)
        _refuse_trouble(wire)


def _as_it_came(row: memoryview) -> memoryview:
    return row


def _unframed(read: list[T]) -> Iterator[list[T]]:
    """Without the head that stands before the first row, and the mark after the last one."""
    if read and read[0][: len(_SIGNATURE)] == _SIGNATURE:
        read[0] = read[0][_HEAD_BYTES:]
    while read and len(read[-1]) <= _END_BYTES:
        read.pop()
    if read:
        yield read


def _with_integer_keys(read: list[bytes]) -> Batch:
    return Batch(_whole([row[_AFTER_ONE:] for row in read]), lambda at: _integer(read[at][_FIRST]))


def _with_text_keys(read: list[bytes]) -> Batch:
    starts = [6 + int.from_bytes(row[2:6], "big") for row in read]
    keys = [row[6:start].decode() for row, start in zip(read, starts, strict=True)]
    return Batch(_whole([row[start + 4 :] for row, start in zip(read, starts, strict=True)]), keys.__getitem__)


def _joined(read: list[memoryview]) -> tuple[list[Joined], bool]:
    """What the server joined, up to the first range that it did not; and whether there is none."""
    found: list[Joined] = []
    for row in read:
        text = row[_AFTER_TWO:]
        if not text:
            return found, False
        found.append(Joined(text, _integer(row[_FIRST]), _integer(row[_SECOND])))
    return found, True


def _integer(eight_bytes: Any) -> int:
    return int.from_bytes(eight_bytes, "big", signed=True)


def _whole(lines: list[Any]) -> list[Any]:
    """The lines; `OperationalError` where the text of a row is null: a column that never is one, by its model, holds it nevertheless."""
    if not all(lines):
        raise OperationalError(
            "A row has null in a column that allows none, so its text cannot be made. Look for a constraint that was dropped."
        )
    return lines


def _refuse_trouble(wire: pq.abc.PGconn) -> None:
    """Reads the end of the answer; `OperationalError` when the server gave up on the way."""
    trouble = ""
    while (result := wire.get_result()) is not None:
        trouble = result.error_message.decode(errors="replace")
    if trouble:
        raise OperationalError(trouble)
