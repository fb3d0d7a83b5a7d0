"""Stored objects and their copies, one row each. Reading only, a page at a time, and never counted: they are millions."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models

from audit.admin import BackOfficeAdmin, code, display, moment, size
from audit.badges import badges
from audit.paging import UncountedPaginator
from audit.sizes import in_units
from backups.admin.streams import StreamFilter
from backups.models import Blob, Copy
from subscriptions.admin import of_visible_customers


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
