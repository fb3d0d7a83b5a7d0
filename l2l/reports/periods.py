"""A period of whole days by the calendar of a zone, and moments as that calendar has them (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

# With room on both sides for a zone's hours and a day.
EARLIEST, LATEST = date(1900, 1, 1), date(9998, 12, 31)


class NoPeriod(Exception):
    """The last day lies before the first, or one of them in no calendar that we keep."""


@dataclass(frozen=True, slots=True)
class Days:
    """From the first day to the last, both whole, in the zone; a day of None is open. Some days have 23 or 25 hours."""

    zone: str
    first: date | None = None
    last: date | None = None

    def __post_init__(self) -> None:
        for day in (self.first, self.last):
            if day and not EARLIEST <= day <= LATEST:
                raise NoPeriod(f"{day} lies in no time that is kept here: choose a day from {EARLIEST} to {LATEST}.")
        if self.first and self.last and self.last < self.first:
            raise NoPeriod(f"The period ends ({self.last}) before it begins ({self.first}).")

    @property
    def start(self) -> datetime | None:
        """The first moment, in UTC."""
        return beginning_of(self.first, self.zone) if self.first else None

    @property
    def end(self) -> datetime | None:
        """The first moment that is past it, in UTC."""
        return beginning_of(self.last + timedelta(days=1), self.zone) if self.last else None

    @property
    def words(self) -> str:
        """`1 March 2026 to 31 March 2026, Europe/Berlin`."""
        first = said(self.first) if self.first else "the beginning"
        return f"{first} to {said(self.last) if self.last else 'now'}, {self.zone}"


def beginning_of(day: date, zone: str) -> datetime:
    """The first moment of that day there, in UTC; of a midnight that comes twice the first, of one that is left out the moment after it."""
    return datetime.combine(day, time.min, ZoneInfo(zone)).astimezone(UTC)


def said(day: date) -> str:
    """`4 March 2026`."""
    return f"{day.day} {day:%B %Y}"


def local(moment: datetime, zone: str) -> str:
    """`2026-03-04 03:05:09.120000 +01:00`: sorts, and is told apart in the hour that comes twice."""
    return moment.astimezone(ZoneInfo(zone)).isoformat(sep=" ", timespec="microseconds")


def on_the_clock(moment: datetime, zone: str) -> str:
    """`4 March 2026, 03:05:09 CET`."""
    at = moment.astimezone(ZoneInfo(zone))
    return f"{at.day} {at:%B %Y, %H:%M:%S} {at.tzname()}"
