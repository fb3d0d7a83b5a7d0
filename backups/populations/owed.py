"""Which nights of a stretch are owed to whom: by contract dates and policy alone, without a look at any run (pure; P1).

The same question that `backups.nights` answers one night at a time, answered by counting days; an auditor's verifier counts them a third
time, from the pack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from backups.nights import DAY
from backups.policy import Policy, in_force
from backups.slots import night_of


@dataclass(frozen=True, slots=True)
class Owed:
    """A customer's dates: taken on at a moment, from its first subscription's first day to its last one's last day (None: open), and when
    its destruction began, from when on nothing is owed."""

    taken_on_at: datetime
    first_day: date | None
    last_day: date | None
    destruction_began_at: datetime | None


def stretch(owed: Owed, versions: Sequence[Policy], first: date, last: date, now: datetime) -> tuple[date, date]:
    """The first and the last night owed between two nights, both included; the first lies behind the last when none is."""
    since = max(owed.taken_on_at, min(one.in_force_from for one in versions))
    begins = max(night_of(since, in_force(versions, since).zone), owed.first_day or first, first)
    ends = min(night_of(now, in_force(versions, now).zone), owed.last_day or last, last)
    if owed.destruction_began_at is not None:
        began = owed.destruction_began_at
        ends = min(ends, night_of(began, in_force(versions, began).zone) - DAY)
    return begins, ends


def nights_in(begins: date, ends: date) -> int:
    return max((ends - begins).days + 1, 0)
