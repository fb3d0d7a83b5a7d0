"""The nights of the last weeks as a calendar (pure: no Django, no clock, no settings; P1)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from backups.nights import column_of

WEEKS = 5
# What a night shows when any of its runs counts as that: the worst one first.
KINDS = {
    "bad": ("missed", "failed", "stopped"),
    "warn": ("not_everywhere", "late"),
    "info": ("running", "waiting"),
    "good": ("filled",),
}
WORDS = {"not_everywhere": "not yet everywhere", "unaccounted": "unaccounted for"}


def words(counts: Mapping[str, int], joint: str = ", ") -> str:
    """`8 filled, 1 late`: each column that counts something."""
    return joint.join(f"{count} {WORDS.get(column, column)}" for column, count in sorted(counts.items()) if count)


@dataclass(slots=True)
class Day:
    """One night, called by the day on which it begins; `counts` by the columns of a night's report. `ahead`: it has not begun. `broken`:
    the proof of one of its sets found rows that are not as history says."""

    night: date
    ahead: bool = False
    broken: bool = False
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """`bad`, `warn`, `info`, `good`, or nothing where no set is owed."""
        if self.broken:
            return "bad"
        return next((kind for kind, columns in KINDS.items() if any(self.counts.get(one) for one in columns)), "")

    @property
    def filled(self) -> int:
        return self.counts.get("filled", 0) + self.counts.get("late", 0)

    @property
    def owed(self) -> int:
        return sum(self.counts.values())

    @property
    def words(self) -> str:
        return (words(self.counts) or "nothing was owed") + (", a proof is broken" if self.broken else "")


def calendar(
    counted: Iterable[tuple[date, str, bool, int]], newest: date, *, weeks: int = WEEKS, broken: Collection[date] = ()
) -> list[list[Day]]:
    """Whole weeks from Monday to Sunday, the last one with `newest` in it. `counted` are (night, run's state, late, number); `broken` the
    nights with a set whose proof is broken."""
    monday = newest - timedelta(days=newest.weekday())
    first = monday - timedelta(weeks=weeks - 1)
    days = {day: Day(day, day > newest, day in broken) for day in (first + timedelta(days=number) for number in range(7 * weeks))}
    for night, state, late, count in counted:
        if night in days:
            column = column_of(state, late)
            days[night].counts[column] = days[night].counts.get(column, 0) + count
    shown = list(days.values())
    return [shown[start : start + 7] for start in range(0, len(shown), 7)]
