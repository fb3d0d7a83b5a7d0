"""Which nights are owed, which is late, which is missed, when a failure is tried again (pure: no Django, no clock, no settings; P1).

A night runs from noon to noon in the policy's zone and is called by the day on which it begins: a day of 23 or of 25 hours has one
night. It goes by the version of the policy that was in force when it began. A backup of now cannot fill an older night, so of a
stream's nights that wait only the newest is run; the others are missed, and stay visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from backups.policy import Policy, in_force
from backups.slots import night_of

DAY = timedelta(days=1)
NOON = time(12, 0)


@dataclass(frozen=True, slots=True)
class Night:
    """Moments in UTC: `begins_at` <= `due_at` < `ends_at`. A night ends when the next one begins, unless the zone was changed."""

    label: date
    begins_at: datetime
    due_at: datetime
    ends_at: datetime
    policy: Policy


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose nights: from the day or moment of onboarding, whichever is later, to the last day of its last subscription (None: open)."""

    onboarded_at: datetime
    first_day: date | None = None
    last_day: date | None = None


def night_under(label: date, policy: Policy) -> Night:
    """The night of that label as one version of the policy cuts it."""
    due_on = label if policy.night_starts >= NOON else label + DAY
    return Night(
        label, _moment(label, NOON, policy), _moment(due_on, policy.night_starts, policy), _moment(label + DAY, NOON, policy), policy
    )


def night_called(label: date, versions: Sequence[Policy]) -> Night:
    """The night of that label, by the version that was in force when it began."""
    by_age = sorted(versions, key=lambda one: -one.number)
    cut = (night_under(label, policy) for policy in by_age)
    return next((night for night in cut if night.policy.in_force_from <= night.begins_at), night_under(label, by_age[-1]))


def current_night(versions: Sequence[Policy], now: datetime) -> Night:
    """The night that the moment belongs to."""
    return night_called(night_of(now, in_force(versions, now).zone), versions)


def nights_owed(owner: Owner, versions: Sequence[Policy], now: datetime, *, after: date | None = None) -> Iterator[Night]:
    """The nights that have begun and for which a set is owed, oldest first; only those after a label when one is given.

    A customer taken on in the middle of a night is owed that night, from then on.
    """
    first = night_of(owner.onboarded_at, in_force(versions, owner.onboarded_at).zone)
    label = max(first, owner.first_day or first, after + DAY if after else first)
    last = min(night_of(now, in_force(versions, now).zone), owner.last_day or date.max)
    while label <= last:
        night = night_called(label, versions)
        due_at = min(max(night.due_at, owner.onboarded_at), night.ends_at)
        yield Night(label, night.begins_at, due_at, night.ends_at, night.policy)
        label += DAY


def is_late(started_at: datetime, ends_at: datetime) -> bool:
    """A run that begins after the noon that ends its night fills it late."""
    return started_at >= ends_at


def missed(waiting: Iterable[date], due: Iterable[date]) -> set[date]:
    """Of one stream's waiting nights, those that can be filled no more: a newer night is due."""
    newest = max(due, default=date.min)
    return {label for label in waiting if label < newest}


def next_try(policy: Policy, attempts: int, ended_at: datetime) -> datetime | None:
    """When a failed attempt is tried again; None when it was the last one allowed."""
    return ended_at + policy.retry_after(attempts) if attempts < policy.max_attempts else None


def pause_covers(paused_until: datetime | None, due_at: datetime) -> bool:
    """Whether a pause also holds for a later night of the same stream."""
    return paused_until is not None and due_at < paused_until


def _moment(day: date, at: time, policy: Policy) -> datetime:
    # fold=0: a time that the spring change leaves out comes as long after it as it stands in the gap; of one that comes twice, the first.
    return datetime.combine(day, at, policy.zone).astimezone(UTC)


# What each state counts as; every state counts once, so that the sums reconcile.
COLUMNS = {
    "missed": "missed",
    "excused": "excused",
    "paused": "paused",
    "complete": "not_everywhere",
    "failed": "failed",
    "stopped": "stopped",
    "owed": "waiting",
    "running": "running",
}
RED = ("missed", "not_everywhere", "failed", "stopped", "unaccounted")


@dataclass(frozen=True, slots=True)
class NightReport:
    """owed = filled + late + missed + excused + paused + not_everywhere + failed + stopped + waiting + running + unaccounted.

    `not_everywhere` has a set that is complete and not yet protected; `unaccounted` are streams to which the night is owed and for which
    no run stands: always a fault. `flawed` of the filled and late sets lack files that the uploads had lost before; the proof of `broken`
    sets found rows that are not as history says.
    """

    night: date
    owed: int
    over: bool
    counts: Mapping[str, int]
    unaccounted: tuple[str, ...] = ()
    flawed: int = 0
    broken: int = 0
    troubles: tuple[tuple[str, str], ...] = field(default=())

    @property
    def red(self) -> bool:
        """Whether a person must look: something failed, was missed, or is not everywhere it should be."""
        return (
            bool(self.broken)
            or any(self.counts.get(column, 0) for column in RED)
            or (self.over and any(self.counts.get(one, 0) for one in ("waiting", "running")))
        )


def column_of(state: str, late: bool) -> str:
    if state == "done":
        return "late" if late else "filled"
    return COLUMNS[state]
