"""Evidence packs: asking for a period, how far each is, and its download (P13). For auditors."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.admin import BackOfficeAdmin, code, display, moment
from audit.badges import badge
from audit.decisions import DayInput, Decision, decide
from audit.models import EvidencePack
from audit.sizes import in_units
from backups import heartbeats
from backups.errors import BackupError
from backups.queueing import WORKER
from l2l.evidence import asking
from l2l.evidence.asking import PackRefused

State = EvidencePack.State
STANDINGS = {State.MADE: "good", State.RUNNING: "info", State.WAITING: "info", State.FAILED: "bad", State.EXPIRED: ""}


def _quarter_before(today: date) -> tuple[date, date]:
    """The last whole quarter."""
    begins = today.replace(month=today.month - (today.month - 1) % 3, day=1)
    last = begins - timedelta(days=1)
    return last.replace(month=last.month - 2, day=1), last


class PackForm(forms.Form):
    first = forms.DateField(label="First day", widget=DayInput, initial=lambda: _quarter_before(localdate(clock.now()))[0])
    last = forms.DateField(
        label="Last day",
        widget=DayInput,
        initial=lambda: _quarter_before(localdate(clock.now()))[1],
        help_text="Included. Days and nights are those of the backup policy's time zone.",
    )
    seed = forms.CharField(
        required=False,
        max_length=64,
        widget=UnfoldAdminTextInputWidget,
        help_text="By which the sample is drawn: an auditor brings one, so that nobody else chose it. Empty: a random one.",
    )
    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="What it is needed for. Stands beside it, with your name and the time.",
    )

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        first, last = values.get("first"), values.get("last")
        if first and last and last < first:
            self.add_error("last", "The last day lies before the first.")
        return values


@admin.register(EvidencePack)
class EvidencePackAdmin(BackOfficeAdmin):
    allows = frozenset({"add"})
    list_display = (
        "period",
        "standing",
        "adds_up",
        "asked_by",
        moment("asked_at", "asked"),
        "length",
        moment("expires_at", "until"),
    )
    list_filter = ("state",)
    ordering = ("-asked_at",)
    list_before_template = "back_office/evidence_packs.html"
    change_form_outer_before_template = "back_office/evidence_pack.html"
    fields = (
        "period",
        "seed",
        "asked_by",
        "reason",
        moment("asked_at", "asked"),
        moment("begun_at", "begun"),
        moment("made_at", "made"),
        "length",
        "digest",
        moment("expires_at", "removed from"),
    )
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/download/", self.download_view, "download"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        none = not EvidencePack.objects.exists()
        context = {"none": none, "may_ask": self.has_add_permission(request), "ask_url": self.url("add")}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        decision = Decision(
            "Evidence for a period",
            (
                "The worker makes one signed zip: every list that an auditor asks for, how the controls stood hour by hour, the evidence "
                "trail, and a drawn sample with its full evidence. It has ids, counts, digests and names of staff; nobody's content.",
                "It can be verified anywhere, without us: with the verifier that lies in it and our key's fingerprint.",
                "It stays here for 30 days. Asking, making and each download are recorded.",
            ),
            "Make the pack",
            self.url("changelist"),
        )

        def act(values: Mapping[str, Any]) -> str:
            pack = asking.ask(**values, by=request.user, now=clock.now())
            return f"The worker makes the pack of {pack}. The list shows how far it is."

        return decide(self, request, decision, PackForm, act, refusals=(BackupError,))

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        found = self.visible_object(request, object_id)
        context = {
            "pack": found,
            "standing_kind": STANDINGS[State(found.state)],
            "at_work": found.state in (State.WAITING, State.RUNNING),
            "misfits": found.unreconciled.splitlines(),
            "worker_seen": heartbeats.newest(WORKER),
            "again_url": self.url("add") if self.has_add_permission(request) else "",
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def download_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The zip; each download is recorded."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        found = self.visible_object(request, object_id)
        try:
            return asking.download(found, by=request.user, now=clock.now())
        except PackRefused as refusal:
            self.message_user(request, str(refusal), messages.ERROR)
            return redirect(self.url("change", found.pk))

    @display(description="period", ordering="first")
    def period(self, pack: EvidencePack) -> str:
        return f"{pack.first:%-d %b %Y} to {pack.last:%-d %b %Y}"

    @display(description="state")
    def standing(self, pack: EvidencePack) -> str:
        return badge(pack.get_state_display(), STANDINGS[State(pack.state)])

    @display(description="size", ordering="size")
    def length(self, pack: EvidencePack) -> str:
        return in_units(pack.size) if pack.size else "–"

    @display(description="SHA-256")
    def digest(self, pack: EvidencePack) -> str:
        return code(pack.sha256) if pack.sha256 else "–"

    @display(description="adds up")
    def adds_up(self, pack: EvidencePack) -> str:
        if not pack.made_at:
            return "–"
        return badge("does not add up", "bad") if pack.unreconciled else badge("adds up", "good")
