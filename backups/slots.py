"""Nights, weeks and months: to which a moment belongs, when each is over (pure; P6, design section 7).

A night runs from noon to noon in the policy's zone and is called by the day on which it begins. Its ISO week and its month are those of
that day. A key says its tier (`night:2026-01-15`, `week:2026-W03`, `month:2026-01`), so that no two tiers share a name.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
NOON = time(12, 0)
# A period is decided a night after its last one is over: until then a late set, or a location that catches up, may still fill it.
NIGHTS_OF_GRACE = 1
_WEEK, _MONTH = re.compile(r"week:(\d{4})-W(\d\d)"), re.compile(r"month:(\d{4})-(\d\d)")


class Tier(StrEnum):
    NIGHT = "night"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Period:
    """A night, a week or a month: `first` and `last` are labels of nights."""

    tier: Tier
    key: str
    first: date
    last: date

    def closes_at(self, zone: ZoneInfo) -> datetime:
        """When it is decided, in UTC: at the noon that ends the night after its last one."""
        return _noon_after(self.last, 1 + NIGHTS_OF_GRACE, zone)

    def over_at(self, zone: ZoneInfo) -> datetime:
        """When its last night ends, in UTC."""
        return _noon_after(self.last, 1, zone)

    def distance(self, night: date) -> int:
        """How many nights lie between it and that night; 0 for one of its own."""
        return max((self.first - night).days, (night - self.last).days, 0)


def _noon_after(night: date, days: int, zone: ZoneInfo) -> datetime:
    day = night + days * DAY if (date.max - night).days >= days else date.max
    return datetime.combine(day, NOON, zone).astimezone(UTC)


def night_of(moment: datetime, zone: ZoneInfo) -> date:
    """The night's label: a night runs from noon to noon in the zone and is called by the day on which it begins."""
    return (moment.astimezone(zone).replace(tzinfo=None) - timedelta(hours=12)).date()


def night_called(night: date) -> Period:
    return Period(Tier.NIGHT, f"night:{night.isoformat()}", night, night)


def week_of(night: date) -> Period:
    """The ISO week of that night, Monday to Sunday; the last days of December may belong to week 1 of the next year."""
    year, week, day = night.isocalendar()
    first = night - (day - 1) * DAY
    return Period(Tier.WEEK, f"week:{year:04}-W{week:02}", first, first + 6 * DAY)


def month_of(night: date) -> Period:
    first = night.replace(day=1)
    return Period(Tier.MONTH, f"month:{night:%Y-%m}", first, night.replace(day=monthrange(night.year, night.month)[1]))


def period_called(key: str) -> Period:
    """The period of that key; `ValueError` for what is none."""
    if found := _WEEK.fullmatch(key):
        return week_of(date.fromisocalendar(int(found[1]), int(found[2]), 1))
    if found := _MONTH.fullmatch(key):
        return month_of(date(int(found[1]), int(found[2]), 1))
    if key.startswith("night:"):
        return night_called(date.fromisoformat(key.removeprefix("night:")))
    raise ValueError(f"{key!r} is no night, week or month.")


def periods(tier: Tier, first: date, last: date) -> Iterator[Period]:
    """The weeks or months with at least one of the nights from `first` to `last`, the oldest first."""
    cut = week_of if tier is Tier.WEEK else month_of
    night = first
    while night <= last:
        period = cut(night)
        yield period
        night = period.last + DAY
