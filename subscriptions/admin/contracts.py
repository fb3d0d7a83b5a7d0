"""Subscriptions, and what left the system."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.validators import validate_email
from django.db import models
from django.http import HttpRequest
from django.utils.timezone import localdate

from audit.admin import BackOfficeAdmin, TrackedForm, display, moment
from subscriptions.admin.renewals import RenewalPages, renew_url
from subscriptions.admin.terms import change_terms_url, open_request
from subscriptions.admin.visible import CustomerFilter, of_visible_customers
from subscriptions.models import Export, Subscription, TermChangeRequest
from subscriptions.terms import AGREED


class SubscriptionForm(TrackedForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "notice_contacts" in self.fields:
            self.fields["notice_contacts"].widget.attrs["rows"] = 3

    def clean_notice_contacts(self) -> str:
        lines = [line.strip() for line in self.cleaned_data["notice_contacts"].splitlines() if line.strip()]
        for line in lines:
            validate_email(line)
        return "\n".join(lines)


@admin.register(Subscription)
class SubscriptionAdmin(RenewalPages):
    """A contract is added and changed, never deleted: it is evidence. Its terms have a page of their own (`terms.py`)."""

    form = SubscriptionForm
    allows = frozenset({"add", "change"})
    fixed_fields = ("customer", *AGREED)
    autocomplete_fields = ("customer",)
    change_form_outer_before_template = "back_office/subscription.html"
    list_display = ("agreement_number", "customer", "plan", "start", "end", "state", "retention")
    list_filter = (CustomerFilter,)
    list_select_related = ("customer",)
    search_fields = ("agreement_number", "customer__name", "customer__code")
    search_help_text = "Agreement number, customer's name or code"
    fieldsets = (
        ("Agreement", {"fields": ("customer", "agreement_number", "plan", "document", "start", "end")}),
        ("How long data is kept", {"fields": ("agreed_retention_years", "agreed_destruction_days")}),
        ("Return of the data", {"fields": ("return_format", "return_days", "deemed_receipt_allowed", "notice_contacts")}),
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    def visible_history(self, user: Any, rows: Any) -> Any:
        return of_visible_customers(user, rows, "customer_id")

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        subscription = self.visible_object(request, object_id)
        sees = request.user.has_perm(TermChangeRequest.permission("view"))
        context = {
            "change_terms_url": change_terms_url(subscription, request.user),
            "renew_url": renew_url(subscription, request.user),
            "terms_request": open_request(subscription) if sees else None,
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def download_name(self, row: Any, field: str) -> str:
        return f"agreement-{row.agreement_number}"

    @display(description="state", label={"runs": "success", "begins later": "info", "ended": "danger"})
    def state(self, subscription: Subscription) -> str:
        return state_of(subscription)

    @display(description="data kept")
    def retention(self, subscription: Subscription) -> str:
        years = subscription.agreed_retention_years
        return f"{years} years, as agreed" if years else "standard"


def state_of(subscription: Subscription) -> str:
    """Whether the contract runs today, in a word."""
    today = localdate()
    if subscription.start > today:
        return "begins later"
    return "ended" if subscription.end and subscription.end < today else "runs"


@admin.register(Export)
class ExportAdmin(BackOfficeAdmin):
    list_display = (
        "what",
        "customer",
        "by",
        moment("made_at", "made"),
        moment("expires_at", "expires"),
        moment("removed_at", "removed", never="still there"),
    )
    list_filter = (CustomerFilter,)
    list_select_related = ("customer",)
    search_fields = ("what", "by", "reason")
    search_help_text = "What, by whom or why"
    fields = (
        "customer",
        "what",
        "by",
        "reason",
        "path",
        "sha256",
        moment("made_at", "made"),
        moment("expires_at", "expires"),
        moment("removed_at", "removed"),
    )
    readonly_fields = fields

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")
