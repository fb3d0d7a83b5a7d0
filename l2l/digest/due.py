"""When a digest is due (pure)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

AT_HOUR = timedelta(hours=6)


def week_of(now: datetime, zone: ZoneInfo) -> date:
    """The Monday whose digest is the newest that is due at `now`: it is due at six in the morning."""
    return monday(((now.astimezone(zone)).replace(tzinfo=None) - AT_HOUR).date())


def monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def is_due(last: date | None, now: datetime, zone: ZoneInfo) -> bool:
    """Whether one is due, when the last one went out on that day: the first at once, so that somebody sees that it arrives; weeks that were
    missed are made up for by one."""
    return last is None or last < week_of(now, zone)
