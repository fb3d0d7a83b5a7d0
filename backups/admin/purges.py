"""Content past its term: asked for by the account manager, approved by another person, carried out by the destroyer; and what went (P9)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminSingleDateWidget, UnfoldAdminTextareaWidget

from audit import clock, registry
from audit.admin import REFUSALS, BackOfficeAdmin, display, moment, refusal_text, size
from audit.badges import badge
from audit.registry import Protected
from audit.states import State
from audit.two_person import TwoPersonRequest, digest_of
from audit.two_person_admin import TwoPersonAdmin
from backups import queueing
from backups.errors import BackupError
from backups.models import Purge, PurgeRequest, PurgeTry
from backups.purge import requests
from backups.purge.holding_sets import holding
from backups.purge.planning import Plan, plan_of
from subscriptions import holds, past_term
from subscriptions.admin import CustomerFilter, as_uuid, of_visible_customers
from subscriptions.models import Customer

PLAN = "back_office/purge_plan.html"
EXAMPLES = 5
PARTS_SHOWN = 20
REFUSED: tuple[type[Exception], ...] = (*REFUSALS, BackupError)


@dataclass(frozen=True, slots=True)
class ModelShown:
    """One model's items that go: what it is called, how many, and for who may see such rows the first of them with their last change."""

    name: str
    count: int
    may_see: bool
    examples: list[tuple[str, Any]]


class AskForm(forms.Form):
    """What of one customer is to go, by which term, and why."""

    term = forms.ChoiceField(label="Term", choices=PurgeRequest.Term.choices, widget=UnfoldAdminSelectWidget)
    day = forms.DateField(
        label="Past their term on",
        widget=UnfoldAdminSingleDateWidget,
        help_text="Items whose last day lies before this one. A day to come, at most a year ahead, is for agreed terms.",
    )
    why = forms.CharField(
        label="Why",
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="The other person reads this. It stays in the system stream for good: write no content of the customer here.",
    )


@admin.register(PurgeRequest)
class PurgeRequestAdmin(TwoPersonAdmin):
    allows = frozenset({"add"})
    plan_template = PLAN
    approval_does = "With your approval the destroyer removes them for good, each once its own day has come."
    refusals = (BackupError,)
    list_filter = (CustomerFilter, "state")
    list_select_related = ("requested_by", "approved_by", "customer")
    search_fields = ("customer__code", "customer__name")
    search_help_text = "Customer's name or short code"
    change_form_outer_before_template = "back_office/purge_request.html"
    fieldsets = (("What", {"fields": ("customer", "term", "day")}), *TwoPersonAdmin.fieldsets)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    # Asking

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """The form, and beside it what would go: each POST shows that; only the one with "Ask for it" stores a request."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if "customer" not in request.GET:
            messages.info(request, "Open a customer, press “Content past its term”, and ask there.")
            return redirect("admin:l2l_subscriptions_customer_changelist")
        customer = _visible_customer(request)
        form = AskForm(request.POST) if request.method == "POST" else AskForm(initial=_initial(request, customer))
        context: dict[str, Any] = {}
        if request.method == "POST" and form.is_valid():
            context = self._previewed(request, form, customer)
            if "_ask" in request.POST and (asked := self._ask(request, form, customer)) is not None:
                return redirect(self.url("change", asked.pk))
        context |= {"form": form, "plan_template": PLAN, "customer": customer, "original": customer}
        return self.page(request, "back_office/purge_ask.html", f"Purge what is past its term of {customer.name}", **context)

    def _previewed(self, request: HttpRequest, form: AskForm, customer: Customer) -> dict[str, Any]:
        return plan_shown(requests.preview(customer, form.cleaned_data["term"], form.cleaned_data["day"]), request.user)

    def _ask(self, request: HttpRequest, form: AskForm, customer: Customer) -> PurgeRequest | None:
        term, day, why = (form.cleaned_data[name] for name in ("term", "day", "why"))
        try:
            asked = requests.ask(customer, term, day, by=request.user, why=why, now=clock.now())
        except REFUSED as refusal:
            form.add_error(None, refusal_text(refusal))
            return None
        messages.success(request, "Asked. Nothing goes before another person approves it: tell them.")
        return asked

    # One request

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        asked = self.visible_object(request, object_id)
        parts = list(Purge.objects.filter(request=asked).defer("digests", "numbers"))
        context: dict[str, Any] = {
            "parts": [(one, items_of(one)) for one in parts[:PARTS_SHOWN]],
            "gone": sum(items_of(one) for one in parts),
            "more_parts": len(parts) - PARTS_SHOWN,
            "newest_try": PurgeTry.objects.filter(pk=asked.pk).first(),
            "waits": asked.state == State.APPROVED,
            "holding": holding(asked.customer_id, parts[0].purged_at) if parts else None,
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def steps(self, asked: TwoPersonRequest, user: Any) -> list[tuple[str, str, bool]]:
        """Carried out by the destroyer alone, which looks every hour."""
        return [step for step in super().steps(asked, user) if step[0] != "finish"]

    def plan_context(self, asked: Any, user: Any) -> dict[str, Any]:
        return plan_shown(plan_of(asked), user, approved=asked.plan_digest) | {"plan_template": PLAN}

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        requests.approve(asked, by=by, password=password, now=clock.now())
        queueing.purge_now()
        return "Approved: the destroyer removes what is due now, and the rest on its days. This page shows how far it is."


@admin.register(Purge)
class PurgeAdmin(BackOfficeAdmin):
    """What went. Counts and digests alone: which items they were is known no more."""

    list_display = (
        "called",
        moment("purged_at", "rows removed"),
        moment("finished_at", "read back", never="not yet"),
        "items",
        "versions",
        "files",
        size("file_bytes", "file bytes"),
        "people",
    )
    list_filter = (CustomerFilter,)
    list_select_related = ("customer", "request__requested_by", "request__approved_by")
    search_fields = ("customer__code", "customer__name")
    search_help_text = "Customer's name or short code"
    fieldsets = (
        ("When", {"fields": ("called", moment("purged_at", "rows removed"), moment("finished_at", "files removed, and read back"))}),
        ("What", {"fields": ("models_text", "items", "versions", "files", size("file_bytes", "file bytes"))}),
        ("By whom", {"fields": ("request", "people")}),
        ("In the sets", {"fields": ("last_set",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        return super().get_queryset(request).defer("digests", "numbers")

    @display(description="customer", ordering="customer__code")
    def called(self, purge: Purge) -> str:
        return purge.customer.code

    @display(description="items")
    def items(self, purge: Purge) -> str:
        return f"{items_of(purge):,}"

    @display(description="versions in history")
    def versions(self, purge: Purge) -> str:
        return f"{sum(one[1] for one in purge.counts.values()):,}"

    @display(description="stored files")
    def files(self, purge: Purge) -> str:
        return f"{sum(one[2] for one in purge.counts.values()):,}"

    @display(description="models")
    def models_text(self, purge: Purge) -> str:
        return ", ".join(f"{label}: {one[0]:,}" for label, one in sorted(purge.counts.items()))

    @display(description="asked, approved by")
    def people(self, purge: Purge) -> str:
        return f"{purge.request.requested_by}, {purge.request.approved_by}"

    @display(description="who holds them still")
    def last_set(self, purge: Purge) -> str:
        found = holding(purge.customer_id, purge.purged_at)
        return badge(str(found), "good" if not found.sets else "warn" if found.undated else "info")


def items_of(purge: Purge) -> int:
    """How many items went with it."""
    return sum(one[0] for one in purge.counts.values())


def plan_shown(plan: Plan, user: Any, *, approved: str = "") -> dict[str, Any]:
    """What a plan would remove, for a person. `moved`: it is not what was asked for any more."""
    customer, now = plan.scope.customer, clock.now()
    today = past_term.today_of(customer, now)
    return {
        "plan": plan,
        "totals": requests.in_words(plan),
        "models_shown": list(_models_shown(plan, user)),
        "waiting": [(_name(label), count, by) for (label, by), count in plan.waiting.items()],
        "due_now": sum(len(due) for _, due in plan.due(today)),
        "ahead": plan.scope.day > today,
        "held": bool(holds.held([customer.pk])),
        "holding": holding(customer.pk, now),
        "moved": bool(approved) and digest_of(plan.document) != approved,
    }


def _models_shown(plan: Plan, user: Any) -> Iterator[ModelShown]:
    for label, found in plan.going.items():
        protected = registry.by_label(label)
        if protected is not None and found:
            meta = protected.model._meta
            may_see = user.has_perm(f"{meta.app_label}.view_{meta.model_name}")
            first = [one.newest for one in list(found.values())[:EXAMPLES]]
            yield ModelShown(_name(label), len(found), may_see, _examples(protected, first) if may_see else [])


def _examples(protected: Protected, history_ids: list[int]) -> list[tuple[str, Any]]:
    name = str(protected.model._meta.pk.attname) if protected.reference == "pk" else protected.reference
    newest: dict[int, Any] = models.QuerySet(protected.history_model).in_bulk(history_ids)
    return [(str(getattr(newest[one], name)), newest[one].history_date) for one in history_ids if one in newest]


def _name(label: str) -> str:
    protected = registry.by_label(label)
    return capfirst(str(protected.model._meta.verbose_name_plural)) if protected else label


def _initial(request: HttpRequest, customer: Customer) -> dict[str, Any]:
    term = request.GET.get("term", "")
    day: date = past_term.today_of(customer, clock.now())
    return {"term": term if term in PurgeRequest.Term.values else PurgeRequest.Term.STANDARD.value, "day": request.GET.get("day") or day}


def _visible_customer(request: HttpRequest) -> Customer:
    found = Customer.objects.visible_to(request.user).filter(pk=as_uuid(request.GET.get("customer")) or uuid.UUID(int=0)).first()
    if found is None:
        raise Http404("There is no such customer.")
    return found
