"""What the rows know of one stream, for the picture and for why each set is kept (P6). Nothing is written."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Min, Q, Sum

from backups import policies, read_leases, retention
from backups.ledger import picture
from backups.ledger.picture import Chosen, Made, Night, Picture
from backups.models import BackupSet, Blob, Run, Slot
from backups.policy import Policy, in_force
from backups.prune import deciding, facts
from backups.prune.deciding import Decided
from backups.retention import Decision, Reason, Stored
from backups.slots import DAY, Period, Tier, night_of, periods

NIGHTS_SHOWN = timedelta(days=364)


@dataclass(frozen=True, slots=True)
class Kept:
    """A set that is there: when age lets it go and why, and what keeps it whatever its age."""

    stored: Stored
    decision: Decision

    @property
    def undated(self) -> list[Reason]:
        return [reason for reason in self.decision.reasons if reason.until is None]


@dataclass(frozen=True, slots=True)
class Ledger:
    """One stream: `sets` by when they go, the next first; `stored_bytes` at each location that has all of them. `nights_years` are the
    years that have nights to show."""

    picture: Picture
    policy: Policy
    decided: Decided
    sets: tuple[Kept, ...]
    leaving: int
    stored_bytes: int
    nights_years: tuple[int, ...]

    @property
    def waits(self) -> str:
        """Why what is due does not go; empty when nothing is due, or nothing stands in its way."""
        if not self.decided.overdue:
            return ""
        return deciding.ON_HOLD if self.decided.facts.held else self.decided.waits

    def kept_by(self, tier: Tier) -> int:
        """How many sets are there that were chosen for a week or a month."""
        there = {one.stored.id for one in self.sets}
        return len({choice.set_id for choice in self.decided.facts.choices if choice.period.tier is tier and choice.set_id in there})


def read(stream: uuid.UUID, now: datetime, *, nights_of: int | None = None) -> Ledger:
    """The ledger of one stream, with the nights of the last twelve months or of the year `nights_of`."""
    policy = in_force(policies.versions(), now)
    decided = decide(stream, policy, now)
    newest = night_of(now, policy.zone)
    nights_first = Run.objects.filter(stream=stream, kind=Run.Kind.BACKUP).aggregate(first=Min("night"))["first"]
    nights_from, nights_to = _stretch(newest, nights_of, decided.facts.first)
    drawn = picture.draw(_facts(decided, policy, now, nights_first, nights_from, nights_to), nights_from, nights_to)
    return Ledger(
        picture=drawn,
        policy=policy,
        decided=decided,
        sets=tuple(_by_date(decided)),
        leaving=BackupSet.objects.filter(stream=stream, state=BackupSet.State.LEAVING).count(),
        stored_bytes=Blob.objects.filter(stream=stream).exclude(state=Blob.State.INTENDED).aggregate(all=Sum("size"))["all"] or 0,
        nights_years=tuple(range(newest.year, (decided.facts.first or newest).year - 1, -1)),
    )


def picture_of(stream: uuid.UUID, now: datetime, first: date, last: date) -> Picture:
    """What each night from the first to the last says, and every week and month. Stands where there is a policy."""
    policy = in_force(policies.versions(), now)
    nights_first = Run.objects.filter(stream=stream, kind=Run.Kind.BACKUP).aggregate(first=Min("night"))["first"]
    return picture.draw(_facts(decide(stream, policy, now), policy, now, nights_first, first, last), first, last)


def decide(stream: uuid.UUID, policy: Policy, now: datetime) -> Decided:
    """What holds now for each set of the stream, those that are being read included."""
    [found] = facts.read([stream], policy)
    read = {str(pk) for pk in read_leases.being_read([uuid.UUID(one.id) for one in found.sets], now)}
    return deciding.decide(found, policy, now, is_excused=_excused(), read=read)


def _excused() -> Callable[[uuid.UUID, Period], bool]:
    """`deciding.is_excused` with one query for all periods, asked for when the first one needs it."""
    states: dict[date, str] = {}

    def is_excused(stream: uuid.UUID, period: Period) -> bool:
        if not states:
            runs = Run.objects.filter(stream=stream, kind=Run.Kind.BACKUP).order_by()
            states.update(runs.values_list("night", "state") or {date.min: ""})
        return {state for night, state in states.items() if period.first <= night <= period.last} == {Run.State.EXCUSED}

    return is_excused


def kept_now(backup_set: BackupSet, now: datetime) -> Kept | None:
    """Why this set is kept now; None for one that is not there, or not yet."""
    versions = policies.versions()
    if backup_set.state != BackupSet.State.MADE or not versions:
        return None
    decided = decide(backup_set.stream_id, in_force(versions, now), now)
    return next((one for one in _by_date(decided) if one.stored.id == str(backup_set.pk)), None)


def _by_date(decided: Decided) -> list[Kept]:
    by_id = {one.id: one for one in decided.facts.sets}
    found = [Kept(by_id[decision.set_id], decision) for decision in decided.decisions]
    return sorted(found, key=lambda one: (one.decision.goes_at, one.stored.at))


def _stretch(newest: date, year: int | None, first: date | None) -> tuple[date, date]:
    """Whole months, from the first one in which a set is owed on: the last twelve and that of now, or those of a year."""
    if year is None or year > newest.year:
        begins, ends = (newest - NIGHTS_SHOWN).replace(day=1), newest
    else:
        begins, ends = date(year, 1, 1), min(date(year, 12, 31), newest)
    return min(max(begins, (first or newest).replace(day=1)), ends.replace(day=1)), ends


def _facts(decided: Decided, policy: Policy, now: datetime, nights_first: date | None, nights_from: date, nights_to: date) -> picture.Facts:
    found = decided.facts
    newest = night_of(now, policy.zone)
    runs = _runs(found.stream, nights_from, nights_to, now)
    return picture.Facts(
        newest=newest,
        now=now,
        zone=policy.zone,
        first=found.first,
        nights_first=nights_first,
        last=found.last,
        chosen=_chosen(found.stream),
        nights=runs,
        made=_made(found.stream, nights_from, nights_to),
        best=_best(found, newest, now),
    )


def _chosen(stream: uuid.UUID) -> list[Chosen]:
    columns = ("key", "state", "backup_set", "backup_set__night", "backup_set__state", "nights_off", "note")
    slots = Slot.objects.filter(stream=stream).order_by().values_list(*columns)
    return [
        Chosen(key, state, str(pk or ""), night, set_state or "", nights_off, note)
        for key, state, pk, night, set_state, nights_off, note in slots
    ]


def _runs(stream: uuid.UUID, first: date, last: date, now: datetime) -> list[Night]:
    columns = ("night", "pk", "state", "late", "ends_at", "backup_set", "backup_set__state")
    runs = Run.objects.filter(stream=stream, kind=Run.Kind.BACKUP, night__range=(first, last)).order_by().values_list(*columns)
    return [
        Night(night, pk, state, late, ends_at <= now, str(backup_set or ""), set_state or "")
        for night, pk, state, late, ends_at, backup_set, set_state in runs
    ]


def _made(stream: uuid.UUID, first: date, last: date) -> list[Made]:
    """Sets of these nights; of several the last. Where a run stands the picture asks that."""
    there = Q(state=BackupSet.State.MADE) | Q(state=BackupSet.State.LEAVING) | Q(state=BackupSet.State.REMOVED)
    sets = BackupSet.objects.filter(there, stream=stream, night__range=(first, last)).order_by("started_at")
    return [Made(night, str(pk), state) for night, pk, state in sets.values_list("night", "pk", "state")]


def _best(found: facts.Facts, newest: date, now: datetime) -> dict[str, str]:
    """For each week and month that is not decided the best set yet, by its key."""
    best: dict[str, str] = {}
    for tier in (Tier.WEEK, Tier.MONTH):
        first = found.decided_to[tier] + DAY if tier in found.decided_to else found.first
        if first is None:
            continue
        still_open = list(periods(tier, first, min(found.last or newest, newest)))
        for ident, those in retention.candidates(still_open, found.sets, now).items():
            best |= {period.key: ident for period in those}
    return best
