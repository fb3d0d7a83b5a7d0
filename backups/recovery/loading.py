"""Rows, history and journal of one stream into the tables that they came from, under their own keys; no history is made of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from django.db import models

from audit import canonical, registry, rows
from audit.chain import START, Head
from audit.models import ChainHead, JournalRow, RowShape
from backups.hot import forks as timelines
from backups.hot.forks import Fork
from backups.recovery.sources import Newest
from backups.statements import insert

# Values of one statement: SQLite and PostgreSQL take more than 32,000.
MOST_VALUES = 20_000
FREE_SHAPES = 1_000_000


@dataclass(slots=True)
class Loaded:
    """How many rows were written, by (part, model), and where the chain stands."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    head: Head = START

    def of(self, what: str) -> int:
        return sum(count for (part, _), count in self.counts.items() if part == what)


def load(stream: uuid.UUID, newest: Newest, forks: Iterable[Fork]) -> Loaded:
    """Writes all of it, but for the files' bytes. In the caller's transaction; foreign keys are checked at its end."""
    loaded, shapes = Loaded(), _Shapes(newest)
    by_label = {one.label: one for one in registry.of_stream(stream)}
    for part in newest.reader.parts:
        if part.what in ("rows", "history"):
            protected = by_label[part.model]
            model = protected.model if part.what == "rows" else protected.history_model
            made = (rows.instance_of(model, line) for line in newest.reader.lines(part))
        elif part.what == "journal":
            made = (shapes.journal_row(line) for line in newest.reader.lines(part))
        else:
            continue
        loaded.counts[part.what, part.model] = _insert_all(made)
    loaded.head = _write_head(stream, newest, list(forks))
    return loaded


def _insert_all(made: Iterator[models.Model]) -> int:
    count = 0
    first = next(made, None)
    if first is None:
        return 0
    size = max(1, MOST_VALUES // len(first._meta.concrete_fields))
    batch = [first, *islice(made, size - 1)]
    while batch:
        insert(batch)
        count += len(batch)
        batch = list(islice(made, size))
    return count


def _write_head(stream: uuid.UUID, newest: Newest, forks: list[Fork]) -> Head:
    """Where the next number follows: behind the numbers that an older timeline used, where the newest one leaves it here."""
    mark, moment = newest.found.journal, newest.reader.moment
    if moment is not None:
        head, at = Head(moment.number, moment.digest), moment.effective_at
    elif mark is not None:
        head, at = Head(mark["number"], mark["digest"]), datetime.fromisoformat(mark["at"]) if mark["at"] else None
    else:
        return START
    if not head.number:
        return head
    on = timelines.newest(forks)
    standing = timelines.onward(forks, str(stream), head, on=on)
    ChainHead.objects.create(
        stream_id=stream, number=standing.number, digest=standing.digest, at=at, open_transaction=_open_transaction(stream, head.number)
    )
    return head


def _open_transaction(stream: uuid.UUID, number: int) -> uuid.UUID | None:
    """The newest numbered change's, when a part of it waits for numbers still."""
    last = JournalRow.objects.filter(stream=stream, number=number).values_list("transaction", flat=True).first()
    waits = last is not None and JournalRow.objects.filter(stream=stream, number=None, transaction=last).exists()
    return last if waits else None


class _Shapes:
    """The shapes of history rows under the ids that the set knows them by, so that the journal is the same byte for byte; under new ones
    where another set has taken theirs."""

    def __init__(self, newest: Newest) -> None:
        self._ids: dict[int, int] = {}
        for told in newest.of_set.head.get("shapes", []):
            self._ids[told["id"]] = self._kept(told["model"], canonical.dumps(told["columns"]), told["id"])

    def _kept(self, model: str, columns: str, wanted: int) -> int:
        sha256 = hashlib.sha256(columns.encode()).hexdigest()
        found = RowShape.objects.filter(model=model, sha256=sha256).first()
        if found is not None:
            return found.pk
        taken = RowShape.objects.filter(pk=wanted).exists()
        return RowShape.objects.create(pk=_free() if taken else wanted, model=model, columns=columns, sha256=sha256).pk

    def journal_row(self, line: bytes) -> models.Model:
        row = rows.instance_of(JournalRow, line)
        assert isinstance(row, JournalRow)
        if row.shape_id is not None:
            row.shape_id = self._ids.get(row.shape_id, row.shape_id)
        elif row.number is not None:  # of a segment that is newer than the set: its model has the shape of today
            row.shape_id = self._present(row.model)
        return row

    def _present(self, label: str) -> int | None:
        protected = registry.by_label(label)
        if protected is None:
            return None
        columns = canonical.dumps([column.described() for column in rows.columns(protected.history_model)])
        found = RowShape.objects.filter(model=label, sha256=hashlib.sha256(columns.encode()).hexdigest()).first()
        return found.pk if found else self._kept(label, columns, _free())


def _free() -> int:
    """An id that no set knows a shape by: sets that are still to be read keep theirs."""
    return max(FREE_SHAPES, RowShape.objects.order_by("-pk").values_list("pk", flat=True).first() or 0) + 1
