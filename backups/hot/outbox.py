"""What waits for its number, and in which order it may have it (design section 4).

Transactions of one stream are ordered by their largest journal id: whoever writes a row that another transaction wrote before gets a
larger id, so a replay in this order always ends in the live state. Ids commit out of order, so what is asked for is "unnumbered and
visible", never "id > last". One statement sees each transaction whole or not at all. Only when more waits than one segment takes are
transactions looked at one by one; one that is too long for a segment is begun, and its stream's others wait until it has ended.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from django.db import connection

from audit.models import JournalRow
from backups.statements import ask

MOST_CHANGES = 4000
MOST_STREAMS = 500
FLOOR_EVERY = 2.0

_TABLE = JournalRow._meta.db_table
_COLUMNS = 'id, stream_id, model, history_id, "transaction", written_at'
_WAITING = f"FROM {_TABLE} WHERE number IS NULL"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A journal row without a number."""

    id: int
    stream: uuid.UUID
    model: str
    history_id: int
    transaction: uuid.UUID
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """What one stream may number now, in order. `whole` are the transactions that end in it."""

    stream: uuid.UUID
    rows: Sequence[Waiting]
    whole: frozenset[uuid.UUID]


class Floor:
    """Up to which id every journal row is numbered, or belongs to a transaction that came to nothing (PostgreSQL).

    Without it each look would go through all that was numbered while some long snapshot, such as a large backup's, keeps the index from
    being cleaned (measured: 220 ms a look after a million changes, 1 ms with it). It is proved, not guessed: who had an id at the sample
    had a transaction id below the sample's `xmax`; once none of those runs any more, all of them are visible or rolled back.
    """

    def __init__(self) -> None:
        self.beyond = 0
        self._sample: tuple[int, int] | None = None
        self._at = 0.0

    def advance(self) -> None:
        """Takes a sample, or tries whether the last one can be believed; now and then, outside of a transaction."""
        if connection.vendor != "postgresql" or time.monotonic() - self._at < FLOOR_EVERY:
            return
        self._at = time.monotonic()
        if self._sample is None:
            [(last,)] = ask(f"SELECT last_value FROM {_TABLE}_id_seq")  # noqa: S608
            [(xmax,)] = ask("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
            self._sample = int(last), int(xmax)
            return
        last, xmax = self._sample
        [(xmin,)] = ask("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        if xmin >= xmax:
            [(waiting,)] = ask(f"SELECT min(id) {_WAITING} AND id > %s AND id <= %s", self.beyond, last)
            self.beyond = last if waiting is None else waiting - 1
            self._sample = None


def anything(beyond: int = 0) -> bool:
    """Whether anything waits."""
    return bool(ask(f"SELECT 1 {_WAITING} AND id > %s LIMIT 1", beyond))


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing from before `until` waits, but of the streams in `waiting`, with the time of their oldest change that does."""

    until: datetime
    waiting: dict[uuid.UUID, datetime]


def settled(now: datetime, beyond: int = 0, stuck: Collection[uuid.UUID] = ()) -> Settled | None:
    """How far all is known; `now` by the clock of the journal, read before this is asked. None when more waits than is looked at, beside
    that of `stuck` streams, which wait for something else and hold up nobody's `until`."""
    rows = _rows(f"SELECT {_COLUMNS} {_WAITING} AND id > %s LIMIT %s", beyond, MOST_CHANGES + 1)
    if len(rows) > MOST_CHANGES and stuck:
        statement = f"SELECT {_COLUMNS} {_WAITING} AND id > %s AND stream_id NOT IN (%s) LIMIT %s"
        others = _rows(statement, beyond, sorted(stuck), MOST_CHANGES + 1)
        rows = others if len(others) > MOST_CHANGES else [*others, *(row for stream in sorted(stuck) for row in _oldest_of(stream))]
        if len(others) > MOST_CHANGES:
            return None
    elif len(rows) > MOST_CHANGES:
        return None
    waiting: dict[uuid.UUID, datetime] = {}
    for row in rows:
        waiting[row.stream] = min(row.written_at, waiting.get(row.stream, row.written_at))
    return Settled(now, waiting)


def _oldest_of(stream: uuid.UUID) -> list[Waiting]:
    return _rows(f"SELECT {_COLUMNS} {_WAITING} AND stream_id = %s ORDER BY id LIMIT %s", stream, MOST_CHANGES)


def turns(
    open_of: Mapping[uuid.UUID, uuid.UUID],
    after: uuid.UUID | None,
    *,
    without: Collection[uuid.UUID] = (),
    most: int | None = None,
    beyond: int = 0,
) -> list[Turn]:
    """What may be numbered now, about `most` changes of at most 500 streams. `open_of` are the transactions that are begun, by stream; the
    streams after `after` come first, so that each has its turn when more waits than one segment takes. Rows up to the id `beyond` are
    known to be numbered; those `without` wait for something else."""
    most = most or MOST_CHANGES
    rows = _rows(f"SELECT {_COLUMNS} {_WAITING} AND id > %s LIMIT %s", beyond, most + 1)
    if len(rows) <= most:
        streams = _by_stream(row for row in rows if row.stream not in without)
        order = _rotated(sorted(streams), after)[:MOST_STREAMS]
        return [Turn(stream, *_ordered(streams[stream], open_of.get(stream))) for stream in order]
    streams_waiting = _rotated([one for one in _streams_waiting() if one not in without], after)[:MOST_STREAMS]
    share, found, left = max(most // max(len(streams_waiting), 1), 1), [], most
    for stream in streams_waiting:
        turn = _turn(stream, open_of.get(stream), max(share, 1))
        found.append(turn)
        left -= len(turn.rows)
        if left <= 0:
            break
    return found


def _rotated(streams: Sequence[uuid.UUID], after: uuid.UUID | None) -> list[uuid.UUID]:
    if after is None:
        return list(streams)
    return [*(one for one in streams if one > after), *(one for one in streams if one <= after)]


def _by_stream(rows: Iterable[Waiting]) -> dict[uuid.UUID, list[Waiting]]:
    found: dict[uuid.UUID, list[Waiting]] = {}
    for row in rows:
        found.setdefault(row.stream, []).append(row)
    return found


def _ordered(rows: Sequence[Waiting], begun: uuid.UUID | None) -> tuple[list[Waiting], frozenset[uuid.UUID]]:
    """Whole transactions in their order; the one that was begun before them all."""
    last: dict[uuid.UUID, int] = {}
    for row in rows:
        last[row.transaction] = max(row.id, last.get(row.transaction, 0))
    ordered = sorted(rows, key=lambda row: (row.transaction != begun, last[row.transaction], row.id))
    return ordered, frozenset(last)


def _turn(stream: uuid.UUID, begun: uuid.UUID | None, share: int) -> Turn:
    if begun is not None:
        rows = _of_transaction(stream, begun, share + 1)
        return Turn(stream, rows[:share], frozenset([begun]) if len(rows) <= share else frozenset())
    rows = _rows(f"SELECT {_COLUMNS} {_WAITING} AND stream_id = %s ORDER BY id LIMIT %s", stream, share)
    if len(rows) < share:
        return Turn(stream, *_ordered(rows, None))
    unfinished = _going_on(stream, {row.transaction for row in rows}, rows[-1].id)
    whole = [row for row in rows if row.transaction not in unfinished]
    if whole:  # what goes on, or begins, behind the last row has a larger id
        return Turn(stream, *_ordered(whole, None))
    return _first_of_long_ones(stream, unfinished, share)


def _first_of_long_ones(stream: uuid.UUID, seen: Collection[uuid.UUID], share: int) -> Turn:
    """All that was seen goes on beyond a share: what ends first among all transactions goes first, whole or begun."""
    ends = {transaction: _last_id(stream, transaction) for transaction in seen}
    bound = min(ends.values())
    candidates = ask(
        f'SELECT "transaction", max(id) {_WAITING} AND stream_id = %s AND id <= %s GROUP BY "transaction" ORDER BY 2',
        stream,
        bound,
    )
    for transaction in (_uuid(one) for one, _ in candidates):
        if not _going_on(stream, [transaction], bound):
            rows = _of_transaction(stream, transaction, share + 1)
            return Turn(stream, rows[:share], frozenset([transaction]) if len(rows) <= share else frozenset())
    raise AssertionError("the transaction that ends at the bound is among the candidates")


def _of_transaction(stream: uuid.UUID, transaction: uuid.UUID, most: int) -> list[Waiting]:
    statement = f'SELECT {_COLUMNS} {_WAITING} AND "transaction" = %s AND stream_id = %s ORDER BY id LIMIT %s'
    return _rows(statement, transaction, stream, most)


def _last_id(stream: uuid.UUID, transaction: uuid.UUID) -> int:
    statement = f'SELECT id {_WAITING} AND "transaction" = %s AND stream_id = %s ORDER BY id DESC LIMIT 1'
    [(last,)] = ask(statement, transaction, stream)
    return int(last)


def _going_on(stream: uuid.UUID, transactions: Collection[uuid.UUID], last: int) -> set[uuid.UUID]:
    """Those of the transactions that have rows of the stream behind the id `last`."""
    place = "(%s::uuid)" if connection.vendor == "postgresql" else "(%s)"
    found: set[uuid.UUID] = set()
    remaining = iter(transactions)
    while batch := list(islice(remaining, 400)):
        values = ",".join([place] * len(batch))
        statement = (
            f"SELECT column1 FROM (VALUES {values}) AS given WHERE EXISTS "  # noqa: S608
            f'(SELECT 1 {_WAITING} AND "transaction" = column1 AND stream_id = %s AND id > %s)'
        )
        found |= {_uuid(one) for (one,) in ask(statement, *batch, stream, last)}
    return found


def _streams_waiting() -> list[uuid.UUID]:
    """Each stream with something that waits, found by leaps through the index however much it is."""
    found: list[uuid.UUID] = []
    step = f"SELECT stream_id {_WAITING} AND stream_id > %s ORDER BY stream_id LIMIT 1"
    first = ask(f"SELECT stream_id {_WAITING} ORDER BY stream_id LIMIT 1")
    while first and len(found) <= 10 * MOST_STREAMS:
        found.append(_uuid(first[0][0]))
        first = ask(step, found[-1])
    return found


def _rows(statement: str, *values: Any) -> list[Waiting]:
    return [_waiting(row) for row in ask(statement, *values)]


def _waiting(row: tuple[Any, ...]) -> Waiting:
    ident, stream, model, history_id, transaction, written_at = row
    return Waiting(ident, _uuid(stream), model, history_id, _uuid(transaction), _moment(written_at))


def _uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _moment(value: Any) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
