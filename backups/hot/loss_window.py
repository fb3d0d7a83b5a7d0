"""The loss window as it was measured: seconds from a change's commit until it was durable at a location, by the hour (P2)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

from backups.hot.durations import Counted, added, counted
from backups.models import Location, LossHour

HOUR = timedelta(hours=1)


def note(location: Location, durations: Iterable[float], at: datetime) -> None:
    """Counts changes that became durable at the location at `at`, one duration in seconds for each. Called inside the transaction that
    records the copies, so that each change is counted exactly once; whoever else counts the same hour waits for that to end."""
    new = counted(durations)
    if not new.changes:
        return
    hour, _ = LossHour.objects.select_for_update().get_or_create(hour=hour_of(at), location=location)
    total = added([_counted(hour), new]) if hour.buckets else new
    hour.changes, hour.buckets, hour.longest = total.changes, list(total.buckets), total.longest
    hour.save(update_fields=("changes", "buckets", "longest"))


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hours(since: datetime) -> dict[int, dict[datetime, Counted]]:
    """What was counted in each hour from that one on, by location and hour; one query."""
    found: dict[int, dict[datetime, Counted]] = {}
    for hour in LossHour.objects.filter(hour__gte=hour_of(since)).order_by("hour"):
        found.setdefault(hour.location_id, {})[hour.hour.astimezone(UTC)] = _counted(hour)
    return found


def days(by_hour: dict[datetime, Counted]) -> dict[date, Counted]:
    """The hours of one location added up by their days in UTC."""
    by_day: dict[date, list[Counted]] = {}
    for hour, one in by_hour.items():
        by_day.setdefault(hour.date(), []).append(one)
    return {day: added(several) for day, several in by_day.items()}


def _counted(hour: LossHour) -> Counted:
    return Counted(tuple(hour.buckets), hour.longest)
