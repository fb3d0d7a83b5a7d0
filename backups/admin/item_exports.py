"""Items taken from the backups: how far each is, and its download, which is recorded."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.files.storage import FileSystemStorage
from django.db import models
from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect

from audit import access, clock, downloads
from audit.admin import BackOfficeAdmin, display, moment, size
from audit.badges import badge
from backups import heartbeats, queueing
from backups.admin.streams import StreamFilter
from backups.item_exports import ZIP, folder_of
from backups.models import ItemExport
from subscriptions.admin import of_visible_customers

TAKE = "l2l_backups.add_itemexport"
State = ItemExport.State
STANDINGS = {State.READY: "good", State.RUNNING: "info", State.WAITING: "info", State.FAILED: "bad", State.REMOVED: ""}


@admin.register(ItemExport)
class ItemExportAdmin(BackOfficeAdmin):
    list_display = ("called", "customer", "standing", "by", moment("asked_at", "asked"), moment("expires_at", "until"))
    list_filter = (StreamFilter, "state")
    list_select_related = ("stream",)
    ordering = ("-asked_at",)
    change_form_outer_before_template = "back_office/item_export.html"
    fields = (
        "called",
        "customer",
        "standing",
        "by",
        "reason",
        moment("asked_at", "asked"),
        moment("started_at", "begun"),
        moment("ended_at", "ended"),
        moment("expires_at", "removed from"),
        size("size", "size"),
    )
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/download/", self.download_view, "download"), *super().get_urls()]

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.visible_object(request, object_id)
        context = {
            "asked": found,
            "standing_kind": STANDINGS[State(found.state)],
            "at_work": found.state in (State.WAITING, State.RUNNING),
            "notes": found.notes.splitlines(),
            "may_take": request.user.has_perm(TAKE),
            "worker_seen": heartbeats.newest(queueing.WORKER),
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The zip, for whoever may take items of this customer; recorded as every download is."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        found = self.visible_object(request, object_id)
        if not request.user.has_perm(TAKE):
            raise PermissionDenied
        if found.state != State.READY or found.expires_at is None or found.expires_at <= clock.now():
            self.message_user(request, "This item is not there to be downloaded (any more). Ask for it again.", messages.ERROR)
            return redirect(self.url("change", found.pk))
        name = f"{found.stream.name}-{found.model.rpartition('.')[2]}-{found.key}.zip"
        try:
            answer = downloads.attachment(FileSystemStorage(folder_of(found)), ZIP, size=found.size, filename=name)
        except OSError:
            self.message_user(request, "The file of this export is no longer on the server. Ask for it again.", messages.ERROR)
            return redirect(self.url("change", found.pk))
        access.downloaded(found, customer=found.stream_id, field="zip", size=found.size)
        return answer

    @display(description="item")
    def called(self, one: ItemExport) -> str:
        return str(one)

    @display(description="customer", ordering="stream__name")
    def customer(self, one: ItemExport) -> str:
        return one.stream.name

    @display(description="state")
    def standing(self, one: ItemExport) -> str:
        return badge(one.get_state_display(), STANDINGS[State(one.state)])
