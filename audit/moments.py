"""Dates and times as people read them, always with the zone (pure)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def in_utc(moment: datetime) -> str:
    """`4 Mar 2026, 02:05 UTC`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def in_zone(moment: datetime, zone: str) -> str:
    """`4 Mar 2026, 03:05 Europe/Berlin`: where a day is promised to somebody, as their calendar has it."""
    at = moment.astimezone(ZoneInfo(zone))
    return f"{at.day} {at:%b %Y, %H:%M} {zone}"


def in_utc_to_the_second(moment: datetime) -> str:
    """`4 Mar 2026, 02:05:09 UTC`, where changes follow each other closely."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M:%S} UTC"


def length(time: timedelta) -> str:
    """`38 ms`, `0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`."""
    seconds = time.total_seconds()
    if abs(seconds) < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left} min" if hours else f"{minutes} min {rest} s"


def span(time: timedelta) -> str:
    """`29 days`, `1 day 4 h`, `5 h`, `12 min`, `less than a minute`: how long something still is."""
    hours, rest = divmod(int(time.total_seconds()), 3600)
    days, hours_left = divmod(hours, 24)
    if days >= 3:
        return f"{days} days"
    if days:
        return f"{days} day{'' if days == 1 else 's'}" + (f" {hours_left} h" if hours_left else "")
    if hours:
        return f"{hours} h"
    return f"{rest // 60} min" if rest >= 60 else "less than a minute"
