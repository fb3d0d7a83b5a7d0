"""The debt: which cells (stream x tier x location) there are, when each is to be tested again, and which are late (P7).

The cells are bookkeeping, made anew from the catalogue and the results whenever a night is planned: a tier of a stream is owed a test at
a location from when a set of it is there. With them every page needs a constant number of queries, however many customers there are.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.db.models.functions import TruncHour

from audit.history_sql import batches
from audit.moments import length
from backups.models import BackupSet, Blob, Copy, Location, TestCell, TestRestore, TestTier
from backups.policy import Policy
from backups.test_restores import planning
from backups.test_restores.exempting import left_alone
from backups.test_restores.planning import Cell

AT_ONCE = 1000
# What a slot's key begins with.
SLOTS = {TestTier.WEEKLY: "week:", TestTier.MONTHLY: "month:"}
Key = tuple[uuid.UUID, str, int]


@dataclass(frozen=True, slots=True)
class Debt:
    """`owed` cells there are; `never` were never tested, `late` are past their day, `soon` are due within a week, `failed` last failed.
    `oldest` is the due date of the one that is late longest."""

    owed: int
    tested: int
    never: int
    late: int
    soon: int
    failed: int
    oldest: datetime | None


def sets_of(tier: str, policy: Policy, now: datetime) -> QuerySet[Copy]:
    """The envelopes at locations that stand for whole, undamaged sets which are kept for that tier."""
    found = Copy.objects.filter(
        state=Copy.State.PRESENT,
        blob__kind=Blob.Kind.ENVELOPE,
        blob__made_by__state=BackupSet.State.MADE,
        blob__made_by__damaged_at=None,
        location__in_force=True,
    )
    if tier in SLOTS:
        return found.filter(blob__made_by__slots__key__startswith=SLOTS[TestTier(tier)])
    return found.filter(blob__made_by__snapshot_at__gt=now - timedelta(days=policy.nightly_days))


def refresh(policy: Policy, now: datetime, stream: uuid.UUID | None = None) -> None:
    """The cells as they are now, of all streams or of one. Safe to run again, and at the same time as tests end."""
    cells = TestCell.objects.all() if stream is None else TestCell.objects.filter(stream=stream)
    known: dict[Key, tuple[int, bool]] = {
        (of, tier, location): (pk, there)
        for pk, of, tier, location, there in cells.values_list("pk", "stream", "tier", "location", "there")
    }
    found = dict(_found(policy, now, stream))
    new = [key for key in found if key not in known]
    _set_there([pk for key, (pk, there) in known.items() if there and key not in found], False)
    _set_there([pk for key, (pk, there) in known.items() if not there and key in found], True)
    _add(new, found, policy)
    _set_due_dates(policy, cells)


def _found(policy: Policy, now: datetime, only: uuid.UUID | None) -> Iterator[tuple[Key, datetime]]:
    """Each cell, and since when there has been a set of it, as far as is known still."""
    alone = left_alone()
    for tier in TestTier:
        since = "blob__made_by__slots__decided_at" if tier in SLOTS else "blob__made_by__complete_at"
        sets = sets_of(tier, policy, now) if only is None else sets_of(tier, policy, now).filter(blob__stream=only)
        rows = sets.order_by().values_list("blob__stream", "location").annotate(since=Min(since))
        for stream, location, first in rows:
            if stream not in alone:
                yield (stream, tier.value, location), first or now


def _set_there(pks: list[int], there: bool) -> None:
    for batch in batches(pks):
        TestCell.objects.filter(pk__in=batch).update(there=there)


def _add(new: list[Key], found: dict[Key, datetime], policy: Policy) -> None:
    if not new:
        return
    passed = _last_passed()
    names = dict(Location.objects.values_list("pk", "name"))
    rows = []
    for stream, tier, location in new:
        tested = passed.get((stream, tier, names[location]))
        cell = TestCell(stream_id=stream, tier=tier, location_id=location, since=found[stream, tier, location], tested_at=tested)
        cell.due_at = (tested or cell.since) + planning.period(tier, policy.test_days)
        rows.append(cell)
    TestCell.objects.bulk_create(rows, batch_size=AT_ONCE, ignore_conflicts=True)


def _last_passed() -> dict[tuple[uuid.UUID, str, str], datetime]:
    passed = TestRestore.objects.filter(result=TestRestore.Result.PASSED).order_by().values_list("stream", "tier", "location")
    return {(stream, tier, location): at for stream, tier, location, at in passed.annotate(Max("ended_at"))}


def _set_due_dates(policy: Policy, of: QuerySet[TestCell]) -> None:
    """By that version of the policy."""
    for tier in TestTier:
        length = planning.period(tier, policy.test_days)
        cells = of.filter(tier=tier, failed=False)  # what failed is due since then
        with transaction.atomic():
            cells.filter(tested_at=None).exclude(due_at=F("since") + length).update(due_at=F("since") + length)
            cells.exclude(tested_at=None).exclude(due_at=F("tested_at") + length).update(due_at=F("tested_at") + length)


def owed() -> QuerySet[TestCell]:
    """The cells that there are now, at the locations in force, the soonest due first."""
    return TestCell.objects.filter(there=True, location__in_force=True).order_by("due_at", "pk")


def pure(cells: Iterable[TestCell]) -> list[Cell]:
    """As the plan takes them; with each its stream and its location loaded."""
    return [
        Cell(str(one.stream_id), one.tier, one.location.name, one.since, one.tested_at, failed=one.tried_at if one.failed else None)
        for one in cells
    ]


def due_hours(cells: QuerySet[TestCell]) -> Iterable[datetime]:
    """When these cells are due, to the hour, for a forecast; counted by the database: each customer has one for each tier and location."""
    by_hour = cells.order_by().values_list(TruncHour("due_at")).annotate(Count("pk"))
    return Counter(dict(by_hour)).elements()


def debt(now: datetime, cells: QuerySet[TestCell] | None = None) -> Debt:
    """Of these cells, or of all; one query."""
    late = Q(due_at__lt=now)
    found: dict[str, Any] = (owed() if cells is None else cells).aggregate(
        owed=Count("pk"),
        tested=Count("pk", filter=Q(tested_at__isnull=False)),
        never=Count("pk", filter=Q(tested_at=None)),
        late=Count("pk", filter=late),
        soon=Count("pk", filter=Q(due_at__gte=now, due_at__lt=now + timedelta(days=7))),
        failed=Count("pk", filter=Q(failed=True)),
        oldest=Min("due_at", filter=late),
    )
    return Debt(**found)


@dataclass(frozen=True, slots=True)
class Rto:
    """How long a restore of the newest set would take from that location, by the newest test there: `ms` was measured for `content_bytes`,
    and what the set holds more takes longer in proportion."""

    location: str
    ms: int
    content_bytes: int
    measured_at: datetime
    estimated_ms: int

    @property
    def estimated_words(self) -> str:
        return length(timedelta(milliseconds=self.estimated_ms))


def rto(stream: uuid.UUID) -> list[Rto]:
    """For each location with a test that passed; two queries."""
    made = BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE).order_by("-started_at")
    size = made.values_list("content_bytes", flat=True).first() or 0
    found: dict[str, Rto] = {}
    passed = TestRestore.objects.filter(stream=stream, result=TestRestore.Result.PASSED).order_by("-ended_at")
    for test in passed.only("location", "list_ms", "restore_ms", "content_bytes", "ended_at")[:100]:
        if test.location not in found:
            share = max(size / test.content_bytes, 1) if test.content_bytes else 1
            found[test.location] = Rto(
                test.location, test.rto_ms, test.content_bytes, test.ended_at, test.list_ms + round(test.restore_ms * share)
            )
    return sorted(found.values(), key=lambda one: one.location)
