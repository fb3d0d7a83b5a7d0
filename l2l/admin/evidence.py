"""The evidence trail and the grants, for the auditor and for whoever gives rights. Reading only: both are written by verbs alone."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from audit import clock
from audit.admin import BackOfficeAdmin, UncountedPaginator, code, display, moment
from audit.models import Event, Grant
from backups.admin import badge
from subscriptions.models import Customer


@admin.register(Event)
class EventAdmin(BackOfficeAdmin):
    list_display = ("number", moment("at", "when"), "event", "actor", "of_customer", "told", "source")
    list_filter = ("event", "at")
    search_fields = ("actor", "subject")
    search_help_text = "Who, or app.model:key of what it was done to"
    ordering = ("-number",)
    paginator = UncountedPaginator
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("number", "event", moment("at", "when"), "actor", "source", "subject", "of_customer", "told")}),
        ("Its place in the chain", {"fields": ("leaf", "digest")}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        code_of = Customer.objects.filter(pk=models.OuterRef("customer")).values("code")
        return super().get_queryset(request).annotate(customer_code=models.Subquery(code_of))

    @display(description="customer")
    def of_customer(self, event: Any) -> str:
        return event.customer_code or "–"

    @display(description="facts")
    def told(self, event: Event) -> str:
        return ", ".join(f"{name}: {value}" for name, value in event.facts.items() if value is not None) or "–"


@admin.register(Grant)
class GrantAdmin(BackOfficeAdmin):
    list_display = ("person", "role", "standing", moment("since", "since"), "by", moment("until", "until", never="open"), "ended_by")
    list_filter = ("role",)
    list_select_related = ("user",)
    search_fields = ("user__username",)
    ordering = ("-since",)
    fieldsets = ((None, {"fields": ("person", "role", "standing", moment("since", "since"), "by", moment("until", "until"), "ended_by")}),)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    @display(description="person", ordering="user__username")
    def person(self, grant: Grant) -> str:
        return code(grant.user.get_username(), title=grant.user.get_full_name())

    @display(description="state")
    def standing(self, grant: Grant) -> str:
        return badge("in force", "good") if grant.in_force(clock.now()) else badge("ended")
