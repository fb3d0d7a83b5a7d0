"""Retention: twenty years of nights of one customer decided; then the nightly pass over many customers of two years each, of which a few,
and then all, have something due (P6). What is removed at the locations is left aside: that is the locations' speed."""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import audit
from audit import clock
from audit.models import Stream
from backups import leases, policies, retention
from backups.models import BackupSet, RetentionLook, Slot
from backups.policy import Policy, in_force
from backups.prune import due
from backups.prune.carrying_out import Pass, _decide, batches_of
from backups.retention import Stored, Term
from backups.slots import DAY, Period, Tier, month_of, night_of, periods, week_of
from tests.bench.measuring import peak_mib, show, timed

YEARS = 20
ZONE = ZoneInfo("UTC")


def measure(customers: int, folder: Path) -> None:
    figures: dict[str, float] = {}
    with timed(f"{YEARS} years of one customer, night by night", figures):
        kept, removed = _lived(YEARS)
    show("sets kept at the end", kept)
    show("sets removed", removed)
    now = clock.now()
    with timed(f"(making {customers:,} customers of two years)", figures):
        sets = _fill(customers, now)
    show("sets", sets)
    policy = in_force(policies.versions(), now)
    _pass("every customer looked at for the first time", policy, now, figures)
    _pass("again, nothing due", policy, now, figures)
    tonight = now + timedelta(hours=1)
    few = list(RetentionLook.objects.values_list("stream", flat=True)[: max(customers // 100, 1)])
    BackupSet.objects.filter(stream__in=few, goes_at__lt=tonight + 2 * DAY).update(goes_at=now - DAY)
    _pass("one customer in a hundred has a set due", policy, tonight, figures)
    _pass("two nights later: each customer has a set due", policy, now + 2 * DAY, figures)
    _pass("a week later: seven are due, and a week closes for each", policy, now + 9 * DAY, figures)
    show("memory at most", peak_mib(), "MiB")


def _lived(years: int) -> tuple[int, int]:
    """What a pass does for one customer, each night: the night's set, what closes, what is due. Nothing else is looked at."""
    policy, term = Policy(1, datetime(2006, 1, 1, tzinfo=UTC)), Term(years)
    standing: dict[str, Stored] = {}
    chosen: dict[str, list[Period]] = {}
    dates: list[tuple[datetime, str]] = []
    began = datetime(2006, 1, 2, 22, tzinfo=UTC)
    waiting = {tier: week_of(began.date()) if tier is Tier.WEEK else month_of(began.date()) for tier in (Tier.WEEK, Tier.MONTH)}
    removed = 0
    for number in range(years * 365 + years // 4):
        now = began + number * DAY
        night = night_of(now, policy.zone)
        one = Stored(str(number), night, now)
        standing[one.id] = one
        heapq.heappush(dates, (retention.aged(one, (), (), policy, term, now)[1], one.id))
        for tier, period in list(waiting.items()):
            if period.closes_at(policy.zone) <= now:
                choice = retention.choose(period, standing.values(), now)
                if choice.set_id is not None:
                    chosen.setdefault(choice.set_id, []).append(period)
                waiting[tier] = next(periods(tier, period.last + DAY, period.last + DAY))
        while dates and dates[0][0] < now:
            _, ident = heapq.heappop(dates)
            removed += _looked_at(standing, ident, chosen, waiting, policy, term, now, dates)
    return len(standing), removed


def _looked_at(
    standing: dict[str, Stored],
    ident: str,
    chosen: dict[str, list[Period]],
    waiting: dict[Tier, Period],
    policy: Policy,
    term: Term,
    now: datetime,
    dates: list[tuple[datetime, str]],
) -> int:
    """One set whose date came: it goes, or has a later date by now. 1 when it went."""
    one = standing[ident]
    open_for = [period for period in waiting.values() if not period.distance(one.night)]
    decision = retention.decide(one, chosen=chosen.get(ident, ()), open_for=open_for, at_any_age=(), policy=policy, term=term, now=now)
    if decision.kept:
        heapq.heappush(dates, (decision.goes_at, ident))
        return 0
    del standing[ident]
    return 1


def _fill(customers: int, now: datetime) -> int:
    """Customers with four weeks of nights, a year of weeks and a year more of months, as they stand after two years; and the nights that
    the later passes look at."""
    streams = [Stream(id=uuid.uuid4(), name=f"customer-{number}") for number in range(customers)]
    Stream.objects.bulk_create(streams, batch_size=2000)
    nights = list(_nights(now))
    count = 0
    for start in range(0, len(streams), 200):
        rows, slots = [], []
        for stream in streams[start : start + 200]:
            for night, at, periods_of in nights:
                row = BackupSet(stream=stream, state=BackupSet.State.MADE, night=night, started_at=at, snapshot_at=at)
                row.complete_at = row.protected_at = row.ended_at = at
                row.proof, row.policy, row.new_bytes = BackupSet.Proof.PROVED, 1, 100_000
                rows.append(row)
                slots += [_slot(row, period) for period in periods_of]
        BackupSet.objects.bulk_create(rows, batch_size=1000)
        Slot.objects.bulk_create(slots, batch_size=1000)
        count += len(rows)
    return count


def _nights(now: datetime) -> Iterator[tuple[date, datetime, list[Period]]]:
    tonight = now.replace(hour=22, minute=0, second=0, microsecond=0) - DAY
    for age in range(-9, 730):
        at = tonight - age * DAY
        night = at.date()
        closed = [period for period in (week_of(night), month_of(night)) if period.last == night and period.closes_at(ZONE) <= now]
        month = [period for period in closed if period.tier is Tier.MONTH]
        if age < 28 or (age < 28 + 364 and closed) or month:
            yield night, at, closed


def _slot(row: BackupSet, period: Period) -> Slot:
    return Slot(
        stream=row.stream, key=period.key, first=period.first, last=period.last, state=Slot.State.FILLED, backup_set=row, policy=1,
        decided_at=row.started_at,
    )  # fmt: skip


def _pass(what: str, policy: Policy, now: datetime, figures: dict[str, float]) -> None:
    """What a pass does before it lets anything go."""
    found = Pass()
    lease = leases.holding("prune", doing="prune", clock=clock.now)
    with timed(what, figures), audit.acting("bench", reason="bench", source="bench"), lease as whole:
        what_is_due = due.due(policy, now)
        for batch in batches_of(what_is_due.streams):
            whole.keep()
            _decide(batch, what_is_due.anew, policy, now, whole, True, found)
    show("  customers looked at", found.looked_at)
    show("  sets that go", BackupSet.objects.filter(goes_at__lt=now, state=BackupSet.State.MADE).count())
