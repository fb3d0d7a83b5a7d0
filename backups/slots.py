"""Nights: which night a moment belongs to (pure; design section 7)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo


def night_of(moment: datetime, zone: ZoneInfo) -> date:
    """The night's label: a night runs from noon to noon in the zone and is called by the day on which it begins."""
    return (moment.astimezone(zone).replace(tzinfo=None) - timedelta(hours=12)).date()
