"""Changes get their numbers, digests and segment, in the shipper's fenced transaction; read again, the same changes (design section 4).

A number has one digest for ever: it is given once, here, and whoever ships the number again reads what was recorded.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from audit import chain, history_text, registry, rows
from audit.chain import Head
from audit.models import ChainHead, JournalRow, RowShape
from audit.registry import Protected
from backups.hot.outbox import Turn, Waiting
from backups.hot.sections import Change, Section, verified
from backups.models import Timeline
from backups.statements import ask

# As much as one object of content holds (design section 4); one change alone may be longer.
MOST_BYTES = 8 * 1024 * 1024
# History is read so many rows at first, then as many as are likely to have so many bytes together.
FIRST_TEXTS, MOST_TEXTS, MOST_TEXTS_BYTES = 50, 2000, 4 * 1024 * 1024

_JOURNAL, _HEADS = JournalRow._meta.db_table, ChainHead._meta.db_table
_NUMBERED = (
    'SELECT id, stream_id, model, history_id, "transaction", written_at, number, salt, leaf, digest, shape_id '  # noqa: S608
    f"FROM {_JOURNAL} WHERE stream_id = %s AND number BETWEEN %s AND %s ORDER BY number"
)
_GOES_ON = f'SELECT 1 FROM {_JOURNAL} WHERE stream_id = %s AND "transaction" = %s AND (number IS NULL OR number > %s) LIMIT 1'  # noqa: S608


@dataclass(slots=True)
class Numbered:
    """What one stream gets in one segment. `at` is the effective time of its newest whole transaction, `open` one that goes on."""

    section: Section
    waiting: list[Waiting]
    shapes: list[int]
    at: datetime | None
    open: uuid.UUID | None = None

    @property
    def oldest_at(self) -> datetime | None:
        return min((row.written_at for row in self.waiting), default=None)


@dataclass(slots=True)
class Shapes:
    """The present shape of each model's history rows, by label; each is asked for once, outside of the numbering."""

    known: dict[str, RowShape] = field(default_factory=dict)

    def learn(self, labels: Iterable[str]) -> None:
        for label in set(labels) - self.known.keys():
            protected = registry.by_label(label)
            if protected is not None:
                self.known[label] = history_text.shape_of(protected)


def heads(streams: Sequence[uuid.UUID]) -> dict[uuid.UUID, ChainHead]:
    """Where the streams' chains stand; a new one stands at the start."""
    known = ChainHead.objects.in_bulk(list(streams))
    return {stream: known.get(stream) or ChainHead(stream_id=stream) for stream in streams}


def begun() -> dict[uuid.UUID, uuid.UUID]:
    """The transactions of which only a part has its numbers, by stream."""
    open_ones = ChainHead.objects.filter(open_transaction__isnull=False).values_list("stream_id", "open_transaction")
    return {stream: transaction for stream, transaction in open_ones if transaction is not None}


class Unnumberable(LookupError):
    """A change that cannot be numbered: its history row is gone, or its model is no protected one. Its stream waits, and nobody else."""


def numbered(
    turns: Sequence[Turn], standing: Mapping[uuid.UUID, ChainHead], shapes: Shapes, *, segment: int, timeline: int
) -> tuple[list[Numbered], dict[uuid.UUID, str]]:
    """The next changes with their numbers, as many as one segment takes, at least one when there is any; nothing is written yet. And the
    streams of which none can be numbered, with why."""
    found: list[Numbered] = []
    troubles: dict[uuid.UUID, str] = {}
    room = MOST_BYTES
    for turn in turns:
        try:
            one, size = _numbered(turn, standing[turn.stream], shapes, room, segment, timeline, first=not found)
        except Unnumberable as problem:
            troubles[turn.stream] = str(problem)
            continue
        room -= size
        if one.waiting:
            found.append(one)
        if room <= 0:
            break
    return found, troubles


def _with_texts(rows_waiting: Sequence[Waiting]) -> Iterator[tuple[Waiting, bytes]]:
    """Each row with its history's text, read some at a time: as many as are likely to fit, for a segment may be full long before the
    end."""
    at, most = 0, FIRST_TEXTS
    while at < len(rows_waiting):
        batch = rows_waiting[at : at + most]
        texts = _texts(batch)
        for row in batch:
            if (row.model, row.history_id) not in texts:
                raise Unnumberable(f"History row {row.history_id} of {row.model} is gone, and was not shipped yet: somebody removed it.")
            yield row, texts[row.model, row.history_id]
        at += len(batch)
        mean = sum(map(len, texts.values())) // len(texts) + 1
        most = max(1, min(MOST_TEXTS_BYTES // mean, MOST_TEXTS))


def _texts(waiting: Iterable[Waiting]) -> dict[tuple[str, int], bytes]:
    ids: dict[str, list[int]] = {}
    for row in waiting:
        ids.setdefault(row.model, []).append(row.history_id)
    return {(label, key): text for label, keys in ids.items() for key, text in history_text.texts(_protected(label), keys).items()}


def _protected(label: str) -> Protected:
    found = registry.by_label(label)
    if found is None:
        raise Unnumberable(f"The journal names {label}, which is no protected model of this software: its changes cannot be shipped.")
    return found


def _numbered(
    turn: Turn,
    standing: ChainHead,
    shapes: Shapes,
    room: int,
    segment: int,
    timeline: int,
    *,
    first: bool,
) -> tuple[Numbered, int]:
    size = 0
    taken: list[Waiting] = []
    changes: list[Change] = []
    head = before = Head(standing.number, standing.digest)
    ends = _ends(turn)
    at, end_of_transaction = standing.at, standing.at
    for row, text in _with_texts(turn.rows):
        if size + len(text) > room and (changes or not first):
            break
        change = _change(row, text, head.number + 1, end=row.id in ends)
        head = chain.following(head, change.leaf)
        at = max(at, row.written_at) if at else row.written_at
        end_of_transaction = at if change.end else end_of_transaction
        taken.append(row)
        changes.append(change)
        size += len(text)
    section = Section(str(turn.stream), segment, timeline, before, head, models_of(changes), changes)
    goes_on = taken[-1].transaction if taken and not changes[-1].end else None
    return Numbered(section, taken, [shapes.known[row.model].pk for row in taken], end_of_transaction, goes_on), size


def _ends(turn: Turn) -> set[int]:
    """The ids of the rows with which a whole transaction ends."""
    last: dict[uuid.UUID, int] = {}
    for row in turn.rows:
        last[row.transaction] = row.id
    return {ident for transaction, ident in last.items() if transaction in turn.whole}


def _change(row: Waiting, text: bytes, number: int, *, end: bool) -> Change:
    salt = secrets.token_hex(chain.SALT_BYTES)
    return Change(number, row.id, str(row.transaction), moment(row.written_at), row.model, salt, end, text)


def moment(at: datetime) -> str:
    """As `audit.rows` writes a datetime."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def models_of(changes: Iterable[Change]) -> dict[str, dict[str, Any]]:
    """The models that occur in the changes, as a section describes them."""
    return {label: described(label) for label in sorted({change.model for change in changes})}


def described(label: str) -> dict[str, Any]:
    """A protected model: the columns of its history rows, its key, reference and file columns."""
    protected = _protected(label)
    model = protected.model
    columns = {field.name: str(field.column) for field in model._meta.concrete_fields}
    key = str(model._meta.pk.column)
    return {
        "columns": [column.described() for column in rows.columns(protected.history_model)],
        "key": key,
        "reference": key if protected.reference == "pk" else columns[protected.reference],
        "files": [[columns[name] for name in (one.name, one.digest_field, one.size_field)] for one in protected.files],
    }


def record(given: Sequence[Numbered]) -> None:
    """Writes numbers, digests and heads. In the transaction that also writes the segment's row."""
    if not given:
        return
    _record_rows(given)
    ChainHead.objects.bulk_create(
        [_head_after(one) for one in given],
        update_conflicts=True,
        unique_fields=["stream"],
        update_fields=["number", "digest", "at", "open_transaction"],
    )


def _head_after(one: Numbered) -> ChainHead:
    head = one.section.head
    return ChainHead(stream_id=uuid.UUID(one.section.stream), number=head.number, digest=head.digest, at=one.at, open_transaction=one.open)


def _record_rows(given: Sequence[Numbered]) -> None:
    values = []
    for one in given:
        head = one.section.before
        for change, shape in zip(one.section.changes, one.shapes, strict=True):
            leaf = change.leaf
            head = chain.following(head, leaf)
            values.append((change.number, shape, change.salt, leaf, head.digest, one.section.segment, change.journal_id))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = [list(column) for column in zip(*values, strict=True)]
            cursor.execute(
                f"UPDATE {_JOURNAL} AS j SET number = v.number, shape_id = v.shape, salt = v.salt, leaf = v.leaf, digest = v.digest, "  # noqa: S608
                "segment = v.segment FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) "
                "AS v(number, shape, salt, leaf, digest, segment, id) WHERE j.id = v.id AND j.number IS NULL",
                columns,
            )
            written = cursor.rowcount
        else:
            cursor.executemany(
                f"UPDATE {_JOURNAL} SET number = %s, shape_id = %s, salt = %s, leaf = %s, digest = %s, segment = %s "  # noqa: S608
                "WHERE id = %s AND number IS NULL",
                values,
            )
            written = cursor.rowcount
    if written != len(values):
        raise AssertionError(f"{len(values) - written} changes had their numbers already")


@dataclass(frozen=True, slots=True)
class Reread:
    """A section as it was numbered before. `altered` are numbers whose history row is not what its digest says."""

    section: Section
    written_at: list[datetime]
    at: datetime | None
    altered: list[int]


def read_again(stream: uuid.UUID, first: int, last: int, *, segment: int, timeline: int) -> Reread:
    """The section with these numbers, from history as it is now."""
    found = ask(_NUMBERED, stream, first, last)
    texts, columns = _as_numbered([(model, shape, history_id) for _, _, model, history_id, *_, shape in found])
    changes, altered, times = [], [], []
    for at, (ident, _, model, history_id, transaction, written_at, number, salt, leaf, _, _) in enumerate(found):
        following = found[at + 1][4] if at + 1 < len(found) else None
        end = transaction != following and (following is not None or not ask(_GOES_ON, stream, _as_uuid(transaction), last))
        written = _as_moment(written_at)
        text = texts.get((model, history_id), b"{}")
        change = Change(number, ident, str(_as_uuid(transaction)), moment(written), model, salt, end, text)
        if change.leaf != leaf:
            altered.append(number)
        times.append(written)
        changes.append(change)
    before = _head_at(stream, first - 1)
    head = verified(before, changes)
    models = {label: one | {"columns": columns.get(label, one["columns"])} for label, one in models_of(changes).items()}
    section = Section(str(stream), segment, timeline, before, head, models, changes)
    return Reread(section, times, ChainHead.objects.get(pk=stream).at, altered)


def _as_numbered(wanted: Iterable[tuple[str, int, int]]) -> tuple[dict[tuple[str, int], bytes], dict[str, list[Any]]]:
    """The texts with the columns that they had when they were numbered, and those columns by model: a migration may have run since."""
    ids: dict[tuple[str, int], list[int]] = {}
    for label, shape, history_id in wanted:
        ids.setdefault((label, shape), []).append(history_id)
    shapes = RowShape.objects.in_bulk({shape for _, shape in ids})
    texts: dict[tuple[str, int], bytes] = {}
    columns: dict[str, list[Any]] = {}
    for (label, shape), keys in ids.items():
        columns[label] = [dict(one) for one in history_text.canonical_columns(shapes[shape])]
        found = history_text.texts_of_shape(_protected(label), shapes[shape], keys) or {}
        texts |= {(label, key): text for key, text in found.items()}
    return texts, columns


def _head_at(stream: uuid.UUID, number: int) -> Head:
    if number == 0:
        return chain.START
    before = JournalRow.objects.filter(stream=stream, number=number).first()
    if before is not None:
        return Head(number, before.digest or "")
    forks = (timeline.forks.get(str(stream)) for timeline in Timeline.objects.all())
    return Head(number, next(digest for _, digest, highest in filter(None, forks) if highest == number))


def _as_uuid(value: Any) -> uuid.UUID:
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def _as_moment(value: Any) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def with_files(section: Section, files: Sequence[Any]) -> Section:
    """The same section with entries for new files."""
    return replace(section, files=[*section.files, *files])
