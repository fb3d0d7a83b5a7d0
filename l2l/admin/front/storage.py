"""What is stored, and how it grows. What lies at a location is known from its nightly reading, which counts it anyway; what a night added
is summed over an index of the sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Max, Sum
from django.db.models.functions import TruncMonth

from audit import clock
from backups.models import BackupSet, VerificationPass
from backups.slots import night_of
from l2l.admin.front.places import Place

NIGHTS_SHOWN, MONTHS_SHOWN = 30, 12
UNITS = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024), ("B", 1))
# One colour for each location; the primary one for the first.
COLOURS = ("var(--color-primary-600)", "#f59e0b", "#6366f1", "#ec4899", "#10b981", "#64748b")


@dataclass(frozen=True, slots=True)
class Stored:
    """One location: bytes and objects as last counted; `growth` in hundredths since thirty nights ago, None where it is unknown."""

    name: str
    bytes: int
    objects: int
    at: datetime | None
    growth: float | None

    @property
    def growth_words(self) -> str:
        return f"{self.growth:+.1f} %" if self.growth is not None else ""


@dataclass(frozen=True, slots=True)
class Storage:
    """`nights` and `months` are charts as JSON, a line for each location; empty before there are two of them."""

    places: tuple[Stored, ...]
    nights: str
    months: str
    legend: tuple[tuple[str, str], ...]
    without: tuple[str, ...]


def storage(places: Sequence[Place], today: date) -> Storage:
    """Of the locations that a person may see; two queries."""
    counted = VerificationPass.objects.filter(location__in=[one.location.pk for one in places]).order_by()
    nightly = counted.filter(night__gt=today - timedelta(days=NIGHTS_SHOWN)).values_list("location", "night")
    first_month = (today.replace(day=1) - timedelta(days=30 * (MONTHS_SHOWN - 1))).replace(day=1)
    monthly = counted.filter(night__gte=first_month).annotate(month=TruncMonth("night")).values_list("location", "month")
    by_night, by_month = (_series(rows.annotate(Max("stored_bytes"))) for rows in (nightly, monthly))
    named = [(one.location.pk, one.location.name) for one in places]
    return Storage(
        places=tuple(_stored(one, by_night.get(one.location.pk, {})) for one in places if one.newest),
        nights=lines(named, by_night, "%-d %b"),
        months=lines(named, by_month, "%b %Y"),
        legend=tuple((name, COLOURS[at % len(COLOURS)]) for at, (_, name) in enumerate(named)),
        without=tuple(one.location.name for one in places if not one.newest),
    )


def _series(rows: Any) -> dict[int, dict[date, int]]:
    found: dict[int, dict[date, int]] = {}
    for location, day, size in rows:
        found.setdefault(location, {})[day] = size
    return found


def _stored(place: Place, by_night: dict[date, int]) -> Stored:
    newest = place.newest
    assert newest is not None
    first = by_night[min(by_night)] if len(by_night) > 1 else 0
    growth = (newest.stored_bytes - first) * 100 / first if first else None
    return Stored(place.location.name, newest.stored_bytes, newest.stored_objects, newest.turn_at, growth)


def lines(named: Sequence[tuple[int, str]], series: dict[int, dict[date, int]], form: str) -> str:
    """A chart's data, a line for each location; a day on which one was not counted is left open."""
    days = sorted({day for of_one in series.values() for day in of_one})
    if len(days) < 2:
        return ""
    name, divisor = unit_of(max(size for of_one in series.values() for size in of_one.values()))
    datasets = []
    for at, (pk, label) in enumerate(named):
        sizes = series.get(pk, {})
        data = [round(sizes[day] / divisor, 2) if day in sizes else None for day in days]
        look = {"borderColor": COLOURS[at % len(COLOURS)], "displayYAxis": True, "suffixYAxis": name, "maxTicksXLimit": 8, "spanGaps": True}
        datasets.append({"label": label, "data": data} | look)
    return json.dumps({"labels": [f"{day:{form}}" for day in days], "datasets": datasets})


def stored_per_night(user: Any) -> str:
    """The chart's data as JSON, a bar for each night since the first set of the period; empty when there is none."""
    newest = night_of(clock.now(), ZoneInfo(settings.L2L_ZONE))
    sets = BackupSet.objects.visible_to(user).filter(night__gt=newest - timedelta(days=NIGHTS_SHOWN), state=BackupSet.State.MADE)
    stored = dict(sets.order_by("night").values_list("night").annotate(Sum("new_bytes")))
    if not stored:
        return ""
    first = min(stored)
    nights = [first + timedelta(days=day) for day in range((max(newest, *stored) - first).days + 1)]
    name, divisor = unit_of(max(stored.values()))
    bars = {"label": "Newly stored", "data": [round(stored.get(night, 0) / divisor, 1) for night in nights], "maxBarThickness": 22}
    look = {"backgroundColor": "var(--color-primary-600)", "displayYAxis": True, "suffixYAxis": name, "maxTicksXLimit": 10}
    return json.dumps({"labels": [f"{night:%-d %b}" for night in nights], "datasets": [bars | look]})


def unit_of(largest: int) -> tuple[str, int]:
    """One unit for all of a chart, so that the largest has at least one digit before the point."""
    return next(((name, size) for name, size in UNITS if largest >= size), UNITS[-1])
