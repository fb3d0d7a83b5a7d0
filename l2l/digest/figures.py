"""What the digest tells, read in a number of questions that does not grow with the customers. Ids, codes, counts, dates: no content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count, Min, Q, QuerySet
from django.utils.timezone import localdate

from audit import controls
from audit.controls import Control
from audit.events import Event as Kind
from audit.findings import LABELS, open_findings
from audit.findings import Kind as FindingKind
from audit.models import Alarm, ControlState, Event, Finding
from audit.promises import PROMISES, Promise, Standing
from backups import nights
from backups.models import BackupSet, Location, Run, TestRestore, VerificationPass
from backups.test_restores import coverage
from subscriptions.ending import clock as clocks
from subscriptions.ending.states import ENDED, State
from subscriptions.models import Customer, DeletionRequest, LegalHold, Subscription

SOON, LATER = timedelta(days=14), timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Measure:
    """One control as it stands. `stale`: nobody measured it of late, and it may stand otherwise."""

    title: str
    state: Standing
    figure: str
    since: datetime
    stale: bool


@dataclass(frozen=True, slots=True)
class Kept:
    """One promise with its controls; none: nothing of it was measured yet."""

    promise: Promise
    measures: tuple[Measure, ...]

    @property
    def state(self) -> Standing | None:
        return max((one.state for one in self.measures), key=lambda state: state.rank, default=None)


@dataclass(frozen=True, slots=True)
class Place:
    """What a location held after its newest reading, and how much of it was checked within its period."""

    name: str
    offsite: bool
    trouble: bool
    objects: int
    bytes: int
    in_time: int


@dataclass(frozen=True, slots=True)
class Figures:
    """From `begins` to `ends`. `breaks` are controls with how often each broke; `nights` runs by what became of them (every column of a
    night's report); `findings` open ones by kind with count and first due date; `nears` sentences."""

    begins: datetime
    ends: datetime
    customers: int
    promises: tuple[Kept, ...]
    breaks: tuple[tuple[str, int], ...]
    alarms: int
    nights: dict[str, int]
    sets: int
    tests: dict[str, int]
    tests_late: int
    requests: dict[str, int]
    destroyed: int
    places: tuple[Place, ...]
    findings: tuple[tuple[str, int, date], ...]
    opened: int
    closed: int
    overdue: int
    nears: tuple[str, ...]

    @property
    def broken(self) -> list[Kept]:
        return [one for one in self.promises if one.state is Standing.BROKEN]

    @property
    def at_risk(self) -> list[Kept]:
        return [one for one in self.promises if one.state is Standing.AT_RISK]

    @property
    def unmeasured(self) -> list[Kept]:
        return [one for one in self.promises if one.state is None or all(measure.stale for measure in one.measures)]


def read(begins: datetime, ends: datetime) -> Figures:
    """Everything as it is at `ends`, and what happened since `begins`."""
    today = localdate(ends, ZoneInfo(settings.L2L_ZONE))
    found = Finding.objects.aggregate(
        opened=Count("pk", filter=Q(opened_at__gte=begins)), closed=Count("pk", filter=Q(closed_at__gte=begins))
    )
    kinds = open_findings().order_by().values("kind").annotate(count=Count("pk"), due=Min("due_on")).order_by("due", "kind")
    tests = TestRestore.objects.filter(ended_at__gte=begins).order_by().values_list("result").annotate(Count("pk"))
    return Figures(
        begins=begins,
        ends=ends,
        customers=Customer.objects.count(),
        promises=tuple(_promises(ends)),
        breaks=tuple(_breaks(begins)),
        alarms=Alarm.objects.filter(ended_at=None).count(),
        nights=_nights(begins.date(), today),
        sets=BackupSet.objects.filter(started_at__gte=begins, state=BackupSet.State.MADE).count(),
        tests=dict(tests),
        tests_late=coverage.debt(ends).late,
        requests=dict(_under_way().order_by().values_list("state").annotate(Count("pk"))),
        destroyed=DeletionRequest.objects.filter(state=State.DESTROYED.value, destroyed_at__gte=begins).count(),
        places=tuple(_places()),
        findings=tuple((LABELS[FindingKind(one["kind"])], one["count"], one["due"]) for one in kinds),
        opened=found["opened"],
        closed=found["closed"],
        overdue=open_findings().filter(due_on__lt=today).count(),
        nears=tuple(_nears(ends, today)),
    )


def _promises(now: datetime) -> Iterator[Kept]:
    states = {row.control: row for row in ControlState.objects.all()}
    for promise in PROMISES.values():
        known = [one for one in controls.all_controls() if one.promise == promise.number]
        yield Kept(promise, tuple(_measure(one, states[one.name], now) for one in known if one.name in states))


def _measure(control: Control, row: ControlState, now: datetime) -> Measure:
    return Measure(control.title, Standing(row.state), row.figure, row.since, now - row.measured_at > timedelta(hours=1))


def _breaks(begins: datetime) -> Iterator[tuple[str, int]]:
    counts: dict[str, int] = {}
    facts: Any
    for facts in Event.objects.filter(event=Kind.CONTROL_BROKEN.value, at__gte=begins).order_by("number").values_list("facts", flat=True):
        name = str(facts.get("control"))
        counts[name] = counts.get(name, 0) + 1
    for name, count in counts.items():
        known = controls.by_name(name)
        yield (f"{known.promise} {known.title}" if known else name), count


def _nights(first: date, today: date) -> dict[str, int]:
    """Of the nights that began on these days and are over in the morning of `today`."""
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night__gte=first, night__lt=today)
    counts: dict[str, int] = {}
    for state, late, count in runs.order_by().values_list("state", "late").annotate(Count("pk")):
        column = nights.column_of(state, late)
        counts[column] = counts.get(column, 0) + count
    return counts


def _places() -> Iterator[Place]:
    for location in Location.objects.filter(in_force=True):
        newest = VerificationPass.objects.filter(location=location).order_by("-night").first()
        held = (newest.stored_objects, newest.stored_bytes, newest.in_time) if newest else (0, 0, 0)
        yield Place(location.name, location.offsite, bool(location.trouble), *held)


def _under_way() -> QuerySet[DeletionRequest]:
    return DeletionRequest.objects.exclude(state__in=[one.value for one in ENDED])


def _nears(now: datetime, today: date) -> Iterator[str]:
    dues = [one.due_at for one in clocks.of_all(_under_way().select_related("customer"), now).values()]
    overdue = sum(1 for at in dues if at is not None and at < now)
    soon = sum(1 for at in dues if at is not None and now <= at < now + SOON)
    ending = Subscription.objects.filter(end__gte=today, end__lt=today + LATER).count()
    holds = LegalHold.objects.filter(released_at=None, review_on__lt=today + SOON).count()
    findings = open_findings().filter(due_on__gte=today, due_on__lt=today + timedelta(days=7)).count()
    for count, one, many in (
        (overdue, "customer should have been destroyed by now", "customers should have been destroyed by now"),
        (soon, "customer is to be destroyed within 14 days", "customers are to be destroyed within 14 days"),
        (ending, "subscription ends within 90 days", "subscriptions end within 90 days"),
        (holds, "legal hold is to be reviewed within 14 days", "legal holds are to be reviewed within 14 days"),
        (findings, "finding is due within 7 days", "findings are due within 7 days"),
    ):
        if count:
            yield f"{count:,} {one if count == 1 else many}"
