"""Hot backups: what would be lost now, how long changes take to be durable, who ships (P2). Reading only, and of no customer's data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse

from audit import clock
from audit.admin import BackOfficeAdmin, moment
from audit.moments import length
from backups.admin.charts import KINDS, Durations, durations, kind_of_p99, limits, seconds
from backups.hot import figures, loss_window
from backups.hot.durations import UNCOUNTED, Counted
from backups.hot.loss_window import HOUR, hour_of
from backups.hot.standing import Figures, Place, judged, state_of_age
from backups.models import HotState, Segment, SegmentCopy

HOURS_SHOWN, DAYS_SHOWN, SEGMENTS_SHOWN = 24, 28, 10


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure in words, with the colour of its badge."""

    text: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """One location: what it lacks now, and how long changes took to be durable there."""

    place: Place
    lacks: Figure
    p50: Figure
    p99: Figure
    longest: Figure
    longest_today: Figure
    by_hour: Durations
    by_day: Durations


@dataclass(frozen=True, slots=True)
class ShownSegment:
    """`copies` are the locations with the moment at which it was durable there; None where it is owed."""

    segment: Segment
    streams: int
    copies: list[tuple[str, datetime | None]]


@admin.register(HotState)
class HotAdmin(BackOfficeAdmin):
    """One page in the place of a list."""

    fieldsets = ((None, {"fields": ("timeline", "last_segment", moment("ticked_at", "last recorded"), "stopped", "stopped_at")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now = clock.now()
        first_day = now.astimezone(UTC).date() - timedelta(days=DAYS_SHOWN - 1)
        by_hour = loss_window.hours(datetime(first_day.year, first_day.month, first_day.day, tzinfo=UTC))
        found = figures_for(request.user, now, by_hour)
        standing = judged(found)
        return self.page(
            request,
            "back_office/hot.html",
            "Hot backups",
            standing=standing,
            standing_kind=KINDS[standing.state],
            lost_kind=KINDS[standing.lost_state],
            findings=[(finding, KINDS[finding.state]) for finding in standing.findings],
            windows=[_window(place, by_hour.get(place.key, {}), now, first_day) for place in found.places],
            shipping=found.shipping,
            now=now,
            last_hour_since=hour_of(now) - HOUR,
            limits=limits(),
            hour_labels=[f"{hour_of(now) - back * HOUR:%H:00}" for back in range(HOURS_SHOWN - 1, -1, -6)],
            day_labels=[f"{first_day + timedelta(days=day):%-d %b}" for day in range(0, DAYS_SHOWN, 7)],
            segments=[_shown(segment) for segment in _last_segments()],
        )


def figures_for(user: Any, now: datetime, by_hour: dict[int, dict[datetime, Counted]] | None = None) -> Figures:
    """All figures, as far as this person may see what is told of the locations."""
    found = figures.now(now, by_hour)
    return found if user.has_perm("l2l_backups.view_location") else found.without_addresses()


def _window(place: Place, by_hour: dict[datetime, Counted], now: datetime, first_day: date) -> Window:
    last, longest_today = place.last_hour, place.longest_today(now)
    slow = last.percentile(99)
    last_hours = [hour_of(now) - back * HOUR for back in range(HOURS_SHOWN - 1, -1, -1)]
    by_day = loss_window.days(by_hour)
    shown_days = [first_day + timedelta(days=day) for day in range(DAYS_SHOWN)]
    return Window(
        place=place,
        lacks=Figure(length(place.lag.age(now)) if place.lag.since else "nothing", KINDS[state_of_age(place.lag.age(now))]),
        p50=Figure(seconds(last.percentile(50))),
        p99=Figure(seconds(slow), kind_of_p99(slow) if slow is not None else ""),
        longest=_longest(timedelta(seconds=last.longest), last.changes > 0),
        longest_today=_longest(longest_today, place.today.changes > 0 or longest_today > timedelta()),
        by_hour=durations([(f"{hour:%-d %b, %H:00} UTC", by_hour.get(hour, UNCOUNTED)) for hour in last_hours]),
        by_day=durations([(f"{day:%-d %b}", by_day.get(day, UNCOUNTED)) for day in shown_days]),
    )


def _longest(time: timedelta, any_counted: bool) -> Figure:
    return Figure(seconds(time.total_seconds()), KINDS[state_of_age(time)]) if any_counted else Figure("–")


def _last_segments() -> list[Segment]:
    copies = Prefetch(
        "copies", SegmentCopy.objects.select_related("location").filter(location__in_force=True).order_by("location__position")
    )
    return list(Segment.objects.prefetch_related(copies)[:SEGMENTS_SHOWN])


def _shown(segment: Segment) -> ShownSegment:
    copies = [(copy.location.name, copy.durable_at) for copy in segment.copies.all()]
    return ShownSegment(segment, len(segment.sections), copies)
