"""The evidence trail, for the auditor. Reading only: verbs alone write it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from audit.admin import BackOfficeAdmin, display, moment
from audit.events import Event as Kind
from audit.models import Event
from audit.paging import UncountedPaginator
from subscriptions.models import Customer


class KindFilter(admin.SimpleListFilter):
    """By the list of the code: the kinds that occurred would be read from every event there is."""

    title = "event"
    parameter_name = "event"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, kind.value) for kind in sorted(Kind)]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        return queryset.filter(event=self.value()) if self.value() else queryset


@admin.register(Event)
class EventAdmin(BackOfficeAdmin):
    list_display = ("number", moment("at", "when"), "event", "actor", "of_customer", "told", "source")
    list_filter = (KindFilter, "at")
    search_fields = ("actor", "subject")
    search_help_text = "Who, or app.model:key of what it was done to"
    ordering = ("-number",)
    paginator = UncountedPaginator
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
