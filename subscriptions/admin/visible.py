"""Each person sees the rows of their customers, on every page."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from audit import registry
from subscriptions.models import Customer

CUSTOMERS_IN_FILTER = 30


def of_visible_customers(user: Any, rows: Any, path: str) -> Any:
    """Those of `rows` whose customer, at that column, this person may see."""
    if user.has_perm("l2l_subscriptions.view_all_customers"):
        return rows
    return rows.filter(**{f"{path}__in": Customer.objects.visible_to(user).values("pk")})


def as_uuid(text: str | None) -> uuid.UUID | None:
    """The id in an address; None for what is none."""
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None


class CustomerFilter(admin.SimpleListFilter):
    """One customer's rows. Offers the first customers that the person may see, and the chosen one; the customer's page links here."""

    title = "customer"
    parameter_name = "customer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        visible = Customer.objects.visible_to(request.user).order_by("code")
        offered = list(visible[:CUSTOMERS_IN_FILTER])
        chosen = as_uuid(request.GET.get(self.parameter_name))
        if chosen and chosen not in {one.pk for one in offered}:
            offered += visible.filter(pk=chosen)
        return [(str(one.pk), one.name) for one in offered]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() is None:
            return queryset
        chosen = as_uuid(self.value())
        return queryset.filter(**{self.path(queryset.model): chosen}) if chosen else queryset.none()

    def path(self, model: type[models.Model]) -> str:
        return registry.of(model).customer if registry.is_protected(model) and registry.of(model).customer else "customer"
