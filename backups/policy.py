"""The backup policy's versions, and which one is in force (pure: no Django, no clock, no settings)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Policy:
    """One version. A night runs from noon to noon in `zone` and its backups are due from `night_starts`; sets are kept `nightly_days`,
    one a week `weekly_weeks` longer, one a month for at most `longest_years` (P6); what is kept is test-restored every `test_days`, and at
    least `tests_a_night` sets a night (P7)."""

    number: int
    in_force_from: datetime
    night_starts: time = time(22, 0)
    zone: ZoneInfo = UTC
    max_attempts: int = 8
    retry_minutes: tuple[int, ...] = (1, 5, 15, 60)
    nightly_days: int = 28
    weekly_weeks: int = 52
    longest_years: int = 20
    test_days: int = 90
    tests_a_night: int = 1

    def retry_after(self, attempts: int) -> timedelta:
        """How long to wait after so many failed attempts (from 1); the last step repeats."""
        return timedelta(minutes=self.retry_minutes[min(attempts, len(self.retry_minutes)) - 1])

    @property
    def keeps(self) -> str:
        """How long sets are kept, in words."""
        weekly = f", then one a week for {self.weekly_weeks} weeks" if self.weekly_weeks else ""
        return f"every night's for {self.nightly_days} days{weekly}, then one a month for at most {self.longest_years} years"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two versions say otherwise. `shorter`: the new one keeps, tries or tests less, so that it takes a second person."""

    name: str
    old: Any
    new: Any
    shorter: bool


# For how long sets are kept; and with it what is less when its number is.
PERIODS = ("nightly_days", "weekly_weeks", "longest_years")
KEEPING = (*PERIODS, "max_attempts", "tests_a_night")
# What is less when its number is more.
WITHIN = ("test_days",)


def in_force(versions: Sequence[Policy], now: datetime) -> Policy:
    """The version in force at that moment: of those that have begun the one made last, else the first; `ValueError` without any."""
    if not versions:
        raise ValueError("There is no backup policy. 'manage.py init' makes the first version.")
    begun = [one for one in versions if one.in_force_from <= now]
    return max(begun, key=lambda one: one.number) if begun else min(versions, key=lambda one: one.number)


def differences(old: Policy, new: Policy) -> list[Difference]:
    """What the new version says otherwise, in the order of the fields."""
    before, after = asdict(old), asdict(new)
    changed = [name for name in before if name not in ("number", "in_force_from") and before[name] != after[name]]
    return [Difference(name, before[name], after[name], _is_less(name, before[name], after[name])) for name in changed]


def _is_less(name: str, old: Any, new: Any) -> bool:
    return (name in KEEPING and new < old) or (name in WITHIN and new > old)
