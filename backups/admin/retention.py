"""Retention as it stands at every customer, what it waits for, and doubts about the clock (P6). One step: vouching for the clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse

from audit import clock
from audit.admin import BackOfficeAdmin, display, moment
from audit.badges import badge
from audit.decisions import Decision, ReasonForm, decide
from audit.moments import in_utc
from backups.admin.kept import kept_url
from backups.errors import BackupError
from backups.models import RetentionLook
from backups.prune import clock_doubt
from subscriptions.admin import of_visible_customers

CLEARS_CLOCK = "l2l_backups.clear_clock"


class WaitsFilter(admin.SimpleListFilter):
    title = "pruning"
    parameter_name = "waits"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "waits"), ("no", "does not wait")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() == "yes":
            return queryset.exclude(waits="")
        return queryset.filter(waits="") if self.value() == "no" else queryset


@admin.register(RetentionLook)
class RetentionLookAdmin(BackOfficeAdmin):
    list_display = ("called", "waiting", "why", moment("look_at", "next look"), "policy_text", "years_text")
    list_filter = (WaitsFilter,)
    list_select_related = ("stream",)
    search_fields = ("stream__name",)
    search_help_text = "Customer's short code"
    ordering = ("stream__name",)
    list_before_template = "back_office/clock_doubts.html"
    fieldsets = ((None, {"fields": ("called", "waiting", "why", moment("look_at", "next look"), "policy_text", "years_text")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "stream")

    def row_url(self, row: RetentionLook) -> str:
        return kept_url(row.pk)

    def get_urls(self) -> list[Any]:
        return [self.view_path("vouch-for-the-clock/", self.clear_clock_view, "clear_clock"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        doubts = clock_doubt.standing(clock.now())
        may_clear = any(not cleared for _, cleared in doubts) and request.user.has_perm(CLEARS_CLOCK)
        context = {"doubts": doubts, "clear_url": self.url("clear_clock") if may_clear else "", **(extra_context or {})}
        return super().changelist_view(request, context)

    def clear_clock_view(self, request: HttpRequest) -> HttpResponse:
        """A person who knows that the clock is right says so, for a day."""
        if not request.user.has_perm(CLEARS_CLOCK):
            raise PermissionDenied
        doubts = clock_doubt.standing(clock.now())
        decision = Decision(
            "Vouch for the clock?",
            (
                *(f"In doubt: {words}." for words, _ in doubts),
                f"The clock says it is {in_utc(clock.now())}. Compare that with a clock that you trust, and set this machine's clock right "
                "(NTP) when it is wrong.",
                "For 24 hours sets whose time is over by this clock are removed, whatever is doubted; nothing brings them back.",
            ),
            "Vouch for the clock",
            self.url("changelist"),
            danger=True,
        )

        def act(values: Mapping[str, Any]) -> str:
            until = clock_doubt.clear(by=request.user, why=values["reason"], now=clock.now())
            return f"You vouch for the clock until {in_utc(until)}."

        return decide(self, request, decision, ReasonForm, act, refusals=(BackupError,))

    @display(description="customer", ordering="stream__name")
    def called(self, look: RetentionLook) -> str:
        return look.stream.name

    @display(description="pruning", ordering="waits")
    def waiting(self, look: RetentionLook) -> str:
        return badge("waits", "warn") if look.waits else badge("does not wait", "good")

    @display(description="for")
    def why(self, look: RetentionLook) -> str:
        return look.waits or "–"

    @display(description="by the policy's version", ordering="policy")
    def policy_text(self, look: RetentionLook) -> str:
        return f"version {look.policy}"

    @display(description="nothing older than", ordering="years")
    def years_text(self, look: RetentionLook) -> str:
        return f"{look.years} years"
