"""The customers: the list, the customer's page, and "Back up now"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminSingleDateWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.admin import TrackedForm, display
from audit.badges import badge, badges
from audit.decisions import Decision, ReasonForm, decide
from audit.moments import in_utc
from backups import run_acts
from backups.admin.sets import STANDINGS
from backups.errors import BackupError
from backups.models import BackupSet, Location, Run
from l2l.admin import customer_page
from l2l.admin.handing_over import HandingOverPages
from l2l.admin.reports import ReportPages
from l2l.admin.timeline import page_of
from subscriptions.admin import state_of
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer


class CustomerForm(TrackedForm):
    def clean_zone(self) -> str:
        zone = self.cleaned_data["zone"]
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError):
            raise ValidationError("There is no such time zone. Use a name such as Europe/Berlin, America/New_York or UTC.") from None
        return zone


class NewCustomerForm(CustomerForm):
    """A customer begins with a subscription."""

    start = forms.DateField(label="First day", widget=UnfoldAdminSingleDateWidget, initial=localdate)
    agreement_number = forms.CharField(
        max_length=64, required=False, widget=UnfoldAdminTextInputWidget, help_text="Empty: the short code with -1."
    )


@admin.register(Customer)
class CustomerAdmin(HandingOverPages, ReportPages):
    """A customer is added and changed, never deleted: how it ends is a matter of its own, with its own steps."""

    form = CustomerForm
    allows = frozenset({"add", "change"})
    fixed_fields = ("code", "account_manager")
    autocomplete_fields = ("account_manager",)
    list_display = ("name", "code", "account_manager", "contracts", "newest_set", "protection")
    list_select_related = ("account_manager",)
    search_fields = ("name", "code")
    search_help_text = "Name or short code"
    ordering = ("code",)
    fields: tuple[str, ...] = ("code", "name", "zone", "account_manager")
    change_form_outer_before_template = "back_office/customer_link.html"

    # Whose

    def visible_to(self, user: Any, rows: Any) -> Any:
        return rows & Customer.objects.visible_to(user) if not user.has_perm("l2l_subscriptions.view_all_customers") else rows

    def visible_history(self, user: Any, rows: Any) -> Any:
        return (
            rows
            if user.has_perm("l2l_subscriptions.view_all_customers")
            else rows.filter(id__in=Customer.objects.visible_to(user).values("pk"))
        )

    # List

    def get_queryset(self, request: HttpRequest) -> Any:
        rows = super().get_queryset(request)
        if not getattr(request.resolver_match, "url_name", "").endswith("_changelist"):
            return rows
        newest = BackupSet.objects.filter(stream_id=models.OuterRef("pk"), state=BackupSet.State.MADE).order_by("-started_at")
        return rows.prefetch_related("subscriptions").annotate(
            newest_at=models.Subquery(newest.values("started_at")[:1]),
            newest_protected_at=models.Subquery(newest.values("protected_at")[:1]),
        )

    def row_url(self, row: Customer) -> str:
        return self.url("overview", row.pk)

    @display(description="subscriptions")
    def contracts(self, customer: Customer) -> str:
        kinds = {"runs": "good", "ended": "bad", "begins later": "info"}
        return badges((state_of(one), kinds[state_of(one)], str(one)) for one in customer.subscriptions.all()) or badge("none", "warn")

    @display(description="newest set", ordering="newest_at")
    def newest_set(self, customer: Any) -> str:
        return in_utc(customer.newest_at) if customer.newest_at else "–"

    @display(description="backup")
    def protection(self, customer: Any) -> str:
        if not customer.newest_at:
            return badge("no set", "bad", "No backup set was ever made")
        standing = "protected" if customer.newest_protected_at else "complete only"
        return badge(standing, *STANDINGS[standing])

    # Forms

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/overview/", self.overview_view, "overview"),
            self.view_path("<path:object_id>/back-up/", self.back_up_view, "back_up"),
            self.view_path("<path:object_id>/timeline/", self.timeline_view, "timeline"),
            *super().get_urls(),
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({} if obj else {"form": NewCustomerForm}) | kwargs)

    def shown_fieldsets(self, request: HttpRequest, obj: Any, writes: bool) -> list[Any]:
        first = [] if obj else [("First subscription", {"fields": ("start", "agreement_number")})]
        return [(None, {"fields": self.fields}), *first]

    def store(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            obj.save()
            return
        values = {name: form.cleaned_data[name] for name in ("name", "zone", "account_manager", "start", "agreement_number")}
        obj.pk = add_customer(form.cleaned_data["code"], **values).pk
        obj._state.adding = False

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        response = super().response_add(request, obj, post_url_continue)
        return redirect(self.url("overview", obj.pk)) if "_save" in request.POST else response

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        response = super().response_change(request, obj)
        return redirect(self.url("overview", obj.pk)) if "_save" in request.POST else response

    # The customer's page

    def overview_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """All about one customer: terms, content, sets, what is owed, exports."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer = self.visible_object(request, object_id)
        context = customer_page.page_of(customer, request.user, clock.now())
        may_change = self.has_change_permission(request, customer)
        return self.page(request, "back_office/customer.html", str(customer), original=customer, may_change=may_change, **context)

    def timeline_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Sets, covered seconds and every change, from which a moment is picked."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer = self.visible_object(request, object_id)
        context = page_of(customer, request.user, request.GET, clock.now())
        return self.page(request, "back_office/timeline.html", f"Timeline of {customer}", original=customer, **context)

    def back_up_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks first; its POST queues a run, on whose page one sees it work."""
        customer = self.visible_object(request, object_id)
        if not request.user.has_perm(customer_page.RUN_BACKUP):
            raise PermissionDenied
        newest = BackupSet.objects.filter(stream=customer.pk, state=BackupSet.State.MADE).defer("blob_ids").order_by("-started_at").first()
        decision = Decision(
            f"Back up {customer.name} now?",
            (
                "All rows, their whole history and every stored file are read as they are at one moment, encrypted with the customer's own "
                "key, stored, and read back. What was stored before is reused. Nobody has to stop working.",
                "The worker begins at once, and its page shows how far it is. What the night owes is not touched by it.",
            ),
            "Back up now",
            self.url("overview", customer.pk),
            details="back_office/back_up.html",
        )
        asked: list[Run] = []

        def act(values: Mapping[str, Any]) -> str:
            asked.append(run_acts.ask(customer.pk, clock.now(), reason=values["reason"]))
            return "A set is asked for; this page shows what comes of it."

        context = {"original": customer, "customer": customer, "newest": newest, "places": Location.objects.filter(in_force=True)}
        response = decide(self, request, decision, ReasonForm, act, refusals=(BackupError,), **context)
        return redirect("admin:l2l_backups_run_change", asked[0].pk) if asked else response
