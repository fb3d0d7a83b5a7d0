"""Verification as it stands: what was read again at each location, what it costs, what was found, and what nobody knows (P4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from audit import clock
from audit.admin import BackOfficeAdmin, code, display, moment, size
from audit.badges import badge
from audit.moments import length
from audit.paging import UncountedPaginator
from audit.sizes import in_units
from backups.admin.charts import Shape, counts
from backups.models import Damage, Location, UnknownObject, VerificationPass
from backups.verification import terms
from backups.verification.cost import ASSUMED_SPEED, Cost, monthly
from backups.verification.damages import late_text
from subscriptions.admin import of_visible_customers

NIGHTS_SHOWN, DAMAGES_SHOWN = 30, 20
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Shown:
    """One location on the page. `newest` is its newest pass, None before the first; `read` and `found` are charts of the nights."""

    location: Location
    newest: VerificationPass | None
    kind: str
    standing: str
    next_due: datetime | None
    cost: Cost | None
    time: str
    measured: bool
    read: tuple[Shape, ...]
    found: tuple[Shape, ...]
    late: str
    unknown: int
    damaged: int
    change_url: str


def shown(location: Location, now: datetime, *, may_change: bool) -> Shown:
    passes = list(VerificationPass.objects.filter(location=location).order_by("-night")[:NIGHTS_SHOWN])
    newest = passes[0] if passes else None
    damaged = Damage.objects.open().filter(location=location).count()
    late = late_text(location)
    kind, standing = _standing(newest, damaged, late)
    read, found = _charts(passes, now.date())
    speed = speed_of(passes)
    cost = cost_of(location, newest, speed)
    return Shown(
        location=location,
        newest=newest,
        kind=kind,
        standing=standing,
        next_due=newest.oldest_at + timedelta(days=location.recheck_days) if newest and newest.oldest_at else None,
        cost=cost,
        time=length(cost.time) if cost else "",
        measured=speed is not None,
        read=read,
        found=found,
        late=late,
        unknown=UnknownObject.objects.filter(location=location).count(),
        damaged=damaged,
        change_url=reverse("admin:l2l_backups_location_reading", args=[location.pk]) if may_change else "",
    )


def _standing(newest: VerificationPass | None, damaged: int, late: str) -> tuple[str, str]:
    if damaged:
        return "bad", "damage"
    if newest is None:
        return "", "not begun"
    if newest.trouble and newest.ended_at is None:
        return "warn", "out of reach"
    return ("warn", "behind") if late else ("good", "in time")


def speed_of(passes: Sequence[VerificationPass]) -> float | None:
    """Bytes a second, as the last passes were; None before there was anything to measure."""
    seconds, read = sum(one.seconds for one in passes), sum(one.bytes_read for one in passes)
    return read / seconds if seconds > 1 and read else None


def cost_of(location: Location, newest: VerificationPass | None, speed: float | None) -> Cost | None:
    if newest is None:
        return None
    return monthly(newest.stored_objects, newest.stored_bytes, days=location.recheck_days, speed=speed, price=location.read_price)


def _charts(passes: Sequence[VerificationPass], today: date) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """Bytes read and damage found, a bar for each night."""
    by_night = {one.night: one for one in passes}
    read, found = [], []
    for back in range(NIGHTS_SHOWN - 1, -1, -1):
        night = today - back * DAY
        one = by_night.get(night)
        told = f"{in_units(one.bytes_read)} read, {one.objects_read} objects; {one.found} wrong, {one.mended} mended" if one else "no pass"
        title = f"{night:%-d %b}: {told}"
        read.append((one.bytes_read if one else 0, title, ""))
        found.append((one.found if one else 0, title, ""))
    return counts(read), tuple(_red(shape) for shape in counts(found))


def _red(shape: Shape) -> Shape:
    return Shape(shape.x, shape.width, shape.y, shape.height, "bad", shape.title)


def shortly(name: str) -> str:
    """The end of an object's name, which tells it from the others; all of it when pointed at."""
    return code(f"…{name[-24:]}" if len(name) > 25 else name, title=name)


@admin.register(VerificationPass)
class VerificationAdmin(BackOfficeAdmin):
    """One page in the place of a list."""

    fieldsets = (
        (
            None,
            {
                "fields": (
                    "location",
                    "night",
                    moment("started_at", "begun"),
                    moment("ended_at", "ended"),
                    size("allowed", "tonight's share"),
                    "objects_read",
                    size("bytes_read", "read"),
                    "found",
                    "mended",
                    "left",
                    "unknown",
                    moment("oldest_at", "oldest check after it"),
                    "trouble",
                )
            },
        ),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        now, may_change = clock.now(), request.user.has_perm(terms.CHANGES)
        places = [shown(one, now, may_change=may_change) for one in Location.objects.filter(in_force=True)]
        damages = Damage.objects.open().select_related("location", "stream")
        open_ones = list(of_visible_customers(request.user, damages, "stream")[:DAMAGES_SHOWN])
        mended = Damage.objects.filter(mended_at__gte=now - NIGHTS_SHOWN * DAY).count()
        first = now.date() - (NIGHTS_SHOWN - 1) * DAY
        return self.page(
            request,
            "back_office/verification.html",
            "Verification",
            places=places,
            damages=open_ones,
            mended=mended,
            read=VerificationPass.objects.filter(night__gte=first).aggregate(n=Sum("objects_read"))["n"] or 0,
            nights=NIGHTS_SHOWN,
            assumed=in_units(ASSUMED_SPEED),
            ticks=[f"{first + timedelta(days=day):%-d %b}" for day in range(0, NIGHTS_SHOWN, 7)],
            damage_url=reverse("admin:l2l_backups_damage_changelist"),
            unknown_url=reverse("admin:l2l_backups_unknownobject_changelist"),
        )


class OpenFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "still wrong"), ("lost", "whole nowhere"), ("mended", "mended")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        still = queryset.filter(mended_at=None, over_at=None)
        chosen = {"open": still, "lost": still.filter(beyond_at__isnull=False), "mended": queryset.filter(mended_at__isnull=False)}
        return chosen.get(self.value() or "", queryset)


@admin.register(Damage)
class DamageAdmin(BackOfficeAdmin):
    list_display = ("object_name", "called", "kind", "location", "wrong", moment("found_at", "found"), "state")
    list_filter = (OpenFilter, "location", "what")
    list_select_related = ("location", "stream")
    search_fields = ("=name",)
    search_help_text = "Whole name of the object"
    ordering = ("-pk",)
    paginator = UncountedPaginator
    fields = (
        "whole_name",
        "called",
        "kind",
        "location",
        "wrong",
        moment("found_at", "found"),
        "state",
        moment("mended_at", "mended"),
        "mended_from",
        "where_aside",
        moment("aside_until", "set aside until"),
    )
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    @display(description="object")
    def object_name(self, damage: Damage) -> str:
        return shortly(damage.name)

    @display(description="name")
    def whole_name(self, damage: Damage) -> str:
        return code(damage.name)

    @display(description="customer")
    def called(self, damage: Damage) -> str:
        return damage.stream.name

    @display(description="what was wrong", ordering="what")
    def wrong(self, damage: Damage) -> str:
        return damage.get_what_display()

    @display(description="state")
    def state(self, damage: Damage) -> str:
        if damage.mended_at:
            return badge("mended", "good", f"From: {damage.mended_from}")
        if damage.over_at:
            return badge("no longer kept", "", "Retention took the object")
        return badge("whole nowhere", "bad", "See the finding") if damage.beyond_at else badge("not mended yet", "warn", "Tried again")

    @display(description="wrong bytes set aside as")
    def where_aside(self, damage: Damage) -> str:
        return code(damage.aside) if damage.aside else "–"


@admin.register(UnknownObject)
class UnknownObjectAdmin(BackOfficeAdmin):
    list_display = ("short_name", "location", size("size", "size"), moment("found_at", "first seen"), moment("seen_at", "last seen"))
    list_filter = ("location",)
    list_select_related = ("location",)
    ordering = ("-found_at", "name")
    fields = ("object_name", "location", size("size", "size"), moment("found_at", "first seen"), moment("seen_at", "last seen"))
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @display(description="object", ordering="name")
    def short_name(self, unknown: UnknownObject) -> str:
        return shortly(unknown.name)

    @display(description="name")
    def object_name(self, unknown: UnknownObject) -> str:
        return code(unknown.name)
