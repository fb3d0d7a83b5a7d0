"""Each day of each control, summed up of the hourly readings (P13). With these rows a month or a year of all controls is read at once;
the readings themselves are a megabyte a month and stay what counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from audit.models import ControlDay, Reading
from audit.promises import Standing

DAYS_AT_ONCE = 31
SUMMED = ("state", "kept", "at_risk", "broken", "least", "most", "figure")


@dataclass(frozen=True, slots=True)
class Hour:
    """One control in one hour, as its reading says: `state` is the worst since the reading before."""

    state: Standing
    figure: str
    value: float | None


def sum_up() -> int:
    """Makes the days right that readings are newer than, and the newest day anew; how many rows were written. Safe to run again, and in
    two processes at once: a day is always summed up as a whole."""
    newest = ControlDay.objects.order_by("-day").values_list("day", flat=True).first()
    first = newest or _day_of_the_first_reading()
    last = Reading.objects.order_by("-hour").values_list("hour", flat=True).first()
    written = 0
    while first is not None and last is not None and first <= last.astimezone(UTC).date():
        written += _sum_up(first, first + timedelta(days=DAYS_AT_ONCE))
        first += timedelta(days=DAYS_AT_ONCE)
    return written


def summed(control: str, day: date, hours: Iterable[Hour]) -> ControlDay:
    """The day's row, of one hour at least, in the order of time."""
    found = list(hours)
    worst = max(found, key=lambda one: one.state.rank).state
    values = [one.value for one in found if one.value is not None]
    return ControlDay(
        control=control,
        day=day,
        state=worst.value,
        kept=sum(one.state is Standing.KEPT for one in found),
        at_risk=sum(one.state is Standing.AT_RISK for one in found),
        broken=sum(one.state is Standing.BROKEN for one in found),
        least=min(values, default=None),
        most=max(values, default=None),
        figure=[one.figure for one in found if one.state is worst][-1][:300],
    )


def _day_of_the_first_reading() -> date | None:
    first = Reading.objects.order_by("hour").values_list("hour", flat=True).first()
    return first.astimezone(UTC).date() if first else None


def _sum_up(first: date, end: date) -> int:
    hours: dict[tuple[str, date], list[Hour]] = {}
    readings = Reading.objects.filter(hour__gte=_midnight(first), hour__lt=_midnight(end)).order_by("hour")
    for reading in readings.only("hour", "controls").iterator(chunk_size=100):
        day = reading.hour.astimezone(UTC).date()
        for name, told in reading.controls.items():
            hours.setdefault((name, day), []).append(_hour(told))
    rows = [summed(name, day, found) for (name, day), found in hours.items()]
    ControlDay.objects.bulk_create(rows, update_conflicts=True, unique_fields=("control", "day"), update_fields=SUMMED, batch_size=500)
    return len(rows)


def _hour(told: dict[str, Any]) -> Hour:
    return Hour(Standing(told.get("worst") or told["state"]), told.get("figure") or "", told.get("value"))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
