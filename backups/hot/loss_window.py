"""The loss window: how long changes take from their commit until they are durable at a location (P2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from backups.hot.durations import BOUNDS, Counted, added, counted
from backups.models import Location, LossHour

__all__ = ["BOUNDS", "hour_of", "note"]


def note(location: Location, durations: Iterable[float], at: datetime) -> None:
    """Counts changes that became durable at the location at `at`, one duration in seconds for each. Called inside the transaction that
    records the copies, so that each change is counted exactly once; whoever else counts the same hour waits for that to end."""
    new = counted(durations)
    if not new.changes:
        return
    hour, _ = LossHour.objects.select_for_update().get_or_create(hour=hour_of(at), location=location)
    total = added([Counted(tuple(hour.buckets), hour.longest), new]) if hour.buckets else new
    hour.changes, hour.buckets, hour.longest = total.changes, list(total.buckets), total.longest
    hour.save(update_fields=("changes", "buckets", "longest"))


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
