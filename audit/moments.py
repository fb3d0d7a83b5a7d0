"""Dates and times as people read them, always with the zone (pure)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def in_utc(moment: datetime) -> str:
    """`4 Mar 2026, 02:05 UTC`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


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
