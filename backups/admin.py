"""Locations, backup sets, stored objects and copies. Reading only: sets are made by the backup, never by a form."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.contrib import admin
from django.db import models
from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.template.loader import render_to_string

from audit.admin import BackOfficeAdmin, UncountedPaginator, code, display, moment, size
from audit.moments import length
from audit.sizes import in_units
from backups.models import BackupSet, Blob, Copy, Location, Run
from subscriptions.admin import CustomerFilter, of_visible_customers

# How a set stands, with the colour of its badge.
STANDINGS = {
    "protected": ("good", "whole, and read back, at every required location"),
    "complete only": ("warn", "whole, and read back, at one location, but not yet at every required one"),
    "being made": ("info", "being made now, or left behind by a run that was killed: the next run settles it"),
    "abandoned": ("bad", "given up; nothing can be restored from it"),
}


@dataclass(frozen=True, slots=True)
class Owed:
    """What a location lacks."""

    copies: int = 0
    bytes: int = 0


def standing_of(backup_set: BackupSet) -> str:
    """How good a set is, in a word of `STANDINGS`."""
    if backup_set.state == BackupSet.State.MADE:
        return "protected" if backup_set.protected_at else "complete only"
    return "abandoned" if backup_set.state == BackupSet.State.ABANDONED else "being made"


def whole_at(sets: Iterable[BackupSet]) -> dict[uuid.UUID, list[str]]:
    """For each set the locations that hold it whole, in one query."""
    found: dict[uuid.UUID, list[str]] = {}
    copies = Copy.objects.filter(blob__kind=Blob.Kind.ENVELOPE, blob__made_by__in=[one.pk for one in sets], state=Copy.State.PRESENT)
    for pk, name in copies.order_by("location__position").values_list("blob__made_by", "location__name"):
        found.setdefault(pk, []).append(name)
    return found


def owed_by_location(stream: uuid.UUID | None = None) -> dict[int, Owed]:
    """What each location lacks, of one stream or of all, in one query."""
    owed = Copy.objects.filter(state=Copy.State.OWED, blob__state=Blob.State.STORED)
    owed = owed.filter(blob__stream=stream) if stream else owed
    counted = owed.values("location").annotate(copies=Count("pk"), size=Sum("blob__size"))
    return {one["location"]: Owed(one["copies"], one["size"] or 0) for one in counted}


def copies_text(count: int) -> str:
    return "1 copy" if count == 1 else f"{count} copies"


def badge(text: str, kind: str = "", title: str = "") -> str:
    return render_to_string("back_office/badge.html", {"badges": [(text, kind, title)]})


def badges(found: Iterable[tuple[str, str, str]]) -> str:
    """Small labels: text, kind (`good`, `warn`, `bad`, `info` or none), and what is said on hover."""
    return render_to_string("back_office/badge.html", {"badges": list(found)})


def standing_badge(backup_set: BackupSet) -> str:
    standing = standing_of(backup_set)
    return badge(standing, *STANDINGS[standing])


def public_address(url: str) -> str:
    """The address of a location without a name or password that somebody may have put into it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


@admin.register(Location)
class LocationAdmin(BackOfficeAdmin):
    list_display = ("name", "address", "roles", moment("last_seen_at", "last seen", never="never"), "condition", "owed")
    fieldsets = (
        (None, {"fields": ("name", "address", "roles", moment("last_seen_at", "last seen", never="never"), "condition")}),
        ("What it holds", {"fields": ("held", "owed")}),
    )
    readonly_fields = ("name", "address", "roles", moment("last_seen_at", "last seen", never="never"), "condition", "held", "owed")

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        owed = Copy.objects.filter(location=models.OuterRef("pk"), state=Copy.State.OWED, blob__state=Blob.State.STORED)
        grouped = owed.order_by().values("location")
        return (
            super()
            .get_queryset(request)
            .annotate(
                owed_copies=models.Subquery(grouped.annotate(n=Count("pk")).values("n")),
                owed_bytes=models.Subquery(grouped.annotate(n=Sum("blob__size")).values("n")),
            )
        )

    @display(description="address")
    def address(self, location: Location) -> str:
        return code(public_address(location.url))

    @display(description="part")
    def roles(self, location: Location) -> str:
        found = [("offsite", "info", "Elsewhere than the service itself")] if location.offsite else []
        found += [("required", "", "A set is protected only when it is whole here too")] if location.required else []
        found += [] if location.in_force else [("not used any more", "warn", "The environment does not name it")]
        return badges(found)

    @display(description="trouble")
    def condition(self, location: Location) -> str:
        if location.trouble:
            return badge("trouble", "bad") + render_to_string("back_office/text.html", {"text": location.trouble})
        return badge("fine", "good") if location.last_seen_at else badge("never used yet")

    @display(description="owed")
    def owed(self, location: Any) -> str:
        if not location.owed_copies:
            return badge("nothing", "good")
        return badge(
            f"{copies_text(location.owed_copies)}, {in_units(location.owed_bytes or 0)}", "warn", "The next backup puts them there"
        )

    @display(description="copies")
    def held(self, location: Location) -> str:
        """Reads the whole table of copies: on the page of one location, not in the list."""
        present = Copy.objects.filter(location=location, state=Copy.State.PRESENT).aggregate(n=Count("pk"), size=Sum("blob__size"))
        return f"{present['n']} objects, {in_units(present['size'] or 0)}"


class StreamFilter(CustomerFilter):
    """One customer's sets, objects or copies."""

    def path(self, model: type[models.Model]) -> str:
        return "blob__stream" if model is Copy else "stream"


class StandingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(standing, standing) for standing in STANDINGS]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        made = queryset.filter(state=BackupSet.State.MADE)
        chosen = {
            "protected": made.filter(protected_at__isnull=False),
            "complete only": made.filter(protected_at=None),
            "being made": queryset.filter(state=BackupSet.State.MAKING),
            "abandoned": queryset.filter(state=BackupSet.State.ABANDONED),
        }
        return chosen.get(self.value() or "", queryset)


@admin.register(BackupSet)
class BackupSetAdmin(BackOfficeAdmin):
    list_display = (
        "called",
        "night_text",
        "standing",
        "places",
        size("content_bytes", "content"),
        size("new_bytes", "newly stored"),
        "reused",
        "time_taken",
        "software_version",
    )
    list_filter = (StreamFilter, StandingFilter, "night")
    list_select_related = ("stream",)
    search_fields = ("stream__name",)
    search_help_text = "Customer's short code"
    ordering = ("-started_at",)
    change_form_outer_before_template = "back_office/set.html"
    fieldsets = (
        (
            "When",
            {
                "fields": (
                    "night_text",
                    moment("started_at", "started"),
                    moment("snapshot_at", "holds the state of"),
                    moment("complete_at", "complete since"),
                    moment("protected_at", "protected since"),
                    moment("ended_at", "ended"),
                    "time_taken",
                )
            },
        ),
        (
            "What",
            {
                "fields": (
                    "rows",
                    "history_rows",
                    "files",
                    "absent_files",
                    size("content_bytes", "content"),
                    size("new_bytes", "newly stored"),
                    "reused",
                )
            },
        ),
        ("How", {"fields": ("software_version", "key_number", "id")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        present = Copy.objects.filter(state=Copy.State.PRESENT).select_related("location").order_by("location__position")
        envelopes = Blob.objects.filter(kind=Blob.Kind.ENVELOPE).prefetch_related(models.Prefetch("copies", present, to_attr="present"))
        return (
            super()
            .get_queryset(request)
            .defer("blob_ids")
            .prefetch_related(models.Prefetch("objects_made", envelopes, to_attr="envelopes"))
        )

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.visible_object(request, object_id)
        held = set(_places_of(found))
        standing = standing_of(found)
        context = {
            "backup_set": found,
            "standing": standing,
            "standing_kind": STANDINGS[standing][0],
            "standing_words": STANDINGS[standing][1],
            "places": [(place, place.name in held) for place in Location.objects.filter(Q(in_force=True) | Q(name__in=held))],
            **(extra_context or {}),
        }
        return super().change_view(request, object_id, form_url, context)

    @display(description="customer", ordering="stream__name")
    def called(self, backup_set: BackupSet) -> str:
        return backup_set.stream.name

    @display(description="night", ordering="night")
    def night_text(self, backup_set: BackupSet) -> str:
        return backup_set.night.isoformat()

    @display(description="state")
    def standing(self, backup_set: BackupSet) -> str:
        return standing_badge(backup_set)

    @display(description="whole at")
    def places(self, backup_set: BackupSet) -> str:
        return badges((name, "good", f"Whole at {name}") for name in _places_of(backup_set)) or "–"

    @display(description="reused")
    def reused(self, backup_set: BackupSet) -> str:
        return f"{backup_set.reused_blobs} of {backup_set.reused_blobs + backup_set.new_blobs} objects"

    @display(description="took")
    def time_taken(self, backup_set: BackupSet) -> str:
        return length(backup_set.ended_at - backup_set.started_at) if backup_set.ended_at else "–"


# How a night stands, with the colour of its badge.
NIGHTS = {
    Run.State.DONE: "good",
    Run.State.RUNNING: "info",
    Run.State.COMPLETE: "warn",
    Run.State.FAILED: "bad",
    Run.State.STOPPED: "bad",
    Run.State.MISSED: "bad",
}


@admin.register(Run)
class RunAdmin(BackOfficeAdmin):
    """What is owed, night by night; the queue works it off."""

    list_display = (
        "night_text",
        "called",
        "standing",
        moment("due_at", "due"),
        moment("started_at", "begun"),
        "time_taken",
        "attempts",
        "told",
    )
    list_filter = (StreamFilter, "state", "late", "night")
    list_select_related = ("stream",)
    search_fields = ("stream__name",)
    search_help_text = "Customer's short code"
    ordering = ("-night", "stream__name")
    fieldsets = (
        (None, {"fields": ("night_text", "called", "standing", "told", "attempts", "backup_set")}),
        (
            "When",
            {
                "fields": (
                    moment("due_at", "due"),
                    moment("started_at", "begun"),
                    moment("ended_at", "ended"),
                    moment("ends_at", "late from"),
                )
            },
        ),
        ("Paused", {"fields": ("paused_by", "paused_reason", moment("paused_until", "until"))}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    @display(description="night", ordering="night")
    def night_text(self, run: Run) -> str:
        return run.night.isoformat()

    @display(description="customer", ordering="stream__name")
    def called(self, run: Run) -> str:
        return run.stream.name

    @display(description="state")
    def standing(self, run: Run) -> str:
        late = [("late", "warn", "Begun after the noon that ends its night")] if run.late else []
        return badges([(run.get_state_display(), NIGHTS.get(Run.State(run.state), ""), ""), *late])

    @display(description="took")
    def time_taken(self, run: Run) -> str:
        return length(run.ended_at - run.started_at) if run.ended_at and run.started_at else "–"

    @display(description="what is told of it")
    def told(self, run: Run) -> str:
        return run.trouble or run.progress or "–"


def _places_of(backup_set: Any) -> list[str]:
    return [copy.location.name for blob in backup_set.envelopes for copy in blob.present]


def _short(blob: Blob) -> str:
    """The last part of its name, which is its digest; the customer's id before it is the same in every row."""
    return code(f"{blob.name.rpartition('/')[2][:20]}…", title=blob.name)


@admin.register(Blob)
class StoredObjectAdmin(BackOfficeAdmin):
    """Millions of rows: a page at a time by the key, and never counted."""

    list_display = ("short_name", "called", "kind", "state", size("size", "stored size"), size("plain_size", "plain size"))
    list_filter = (StreamFilter, "kind", "state")
    list_select_related = ("stream",)
    search_fields = ("=name", "=sha256")
    search_help_text = "Whole name, or whole SHA-256"
    sortable_by: tuple[str, ...] = ()
    ordering = ("-pk",)
    show_full_result_count = False
    paginator = UncountedPaginator
    fields = ("whole_name", "called", "kind", "state", "digest", size("size", "stored size"), size("plain_size", "plain size"), "places")
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    @display(description="customer")
    def called(self, blob: Blob) -> str:
        return blob.stream.name

    @display(description="name")
    def whole_name(self, blob: Blob) -> str:
        return code(blob.name)

    @display(description="SHA-256")
    def digest(self, blob: Blob) -> str:
        return code(blob.sha256)

    @display(description="name")
    def short_name(self, blob: Blob) -> str:
        return _short(blob)

    @display(description="copies")
    def places(self, blob: Blob) -> str:
        kinds = {Copy.State.PRESENT: "good", Copy.State.OWED: "warn"}
        copies = blob.copies.select_related("location").order_by("location__position")
        return badges((f"{one.location.name}: {one.get_state_display()}", kinds[Copy.State(one.state)], "") for one in copies) or "–"


@admin.register(Copy)
class CopyAdmin(BackOfficeAdmin):
    """As stored objects: never counted."""

    list_display = ("blob_name", "location", "state", "stored_size", moment("checked_at", "last read and found right", never="not yet"))
    list_filter = (StreamFilter, "location", "state")
    list_select_related = ("blob", "location")
    sortable_by: tuple[str, ...] = ()
    ordering = ("-pk",)
    show_full_result_count = False
    paginator = UncountedPaginator
    fields = ("blob", "location", "state", moment("checked_at", "last read and found right", never="not yet"))
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "blob__stream")

    @display(description="stored object")
    def blob_name(self, copy: Copy) -> str:
        return _short(copy.blob)

    @display(description="size")
    def stored_size(self, copy: Copy) -> str:
        return in_units(copy.blob.size)
