"""Restoring a customer's live tables: what would change, asked for by one, approved by another, carried out by the queue (P5, P14)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.utils.http import urlencode
from django.utils.text import capfirst
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock, registry
from audit.admin import REFUSALS, display, moment, refusal_text
from audit.decisions import MomentInput
from audit.moments import in_utc
from audit.states import State
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import TwoPersonAdmin
from backups import queueing
from backups import vault as vaults
from backups.choosing import At, Only
from backups.errors import BackupError
from backups.live_restore import requests
from backups.live_restore.examples import shown
from backups.live_restore.plans import Plan
from backups.live_restore.sources import Which
from backups.manifest import BadManifest
from backups.models import BackupSet, LiveRestore, LiveRestoreRequest
from backups.stores.contract import StoreError
from subscriptions.admin import as_uuid, of_visible_customers
from subscriptions.models import Customer

SETS_OFFERED = 60
PLAN = "back_office/live_restore_plan.html"
ANY_SECOND = "at"
READING: tuple[type[Exception], ...] = (BackupError, StoreError, BadManifest)
AT_WORK = (LiveRestore.State.WAITING, LiveRestore.State.RUNNING)
STANDINGS = {LiveRestore.State.DONE: "good", LiveRestore.State.RUNNING: "info", LiveRestore.State.WAITING: "warn"}


class SecondInput(MomentInput):
    """A day and a time to the second."""

    def __init__(self) -> None:
        super().__init__(attrs={"step": "1"})
        self.format = "%Y-%m-%dT%H:%M:%S"


class AskForm(forms.Form):
    """Which state of one customer, what of it, and why."""

    state = forms.ChoiceField(label="State", widget=UnfoldAdminSelectWidget)
    at = forms.DateTimeField(
        label="At (UTC)", required=False, widget=SecondInput, help_text="For any second: the state after the last change before it."
    )
    model = forms.ChoiceField(label="What", required=False, widget=UnfoldAdminSelectWidget)
    reference = forms.CharField(
        label="One item",
        required=False,
        max_length=500,
        widget=UnfoldAdminTextInputWidget,
        help_text="What the item is called, such as a record's reference or an upload's name; empty for all of them.",
    )
    why = forms.CharField(
        label="Why",
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="The other person reads this, and it stands in the history of every row that is written.",
    )

    def __init__(self, customer: Customer, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["state"].choices = [*_sets_of(customer), (ANY_SECOND, "Any second …")]  # type: ignore[attr-defined]
        models_of = [(one.label, capfirst(str(one.model._meta.verbose_name_plural))) for one in registry.of_stream(customer.pk)]
        self.fields["model"].choices = [("", "Everything"), *models_of]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("state") == ANY_SECOND and not cleaned.get("at") and "at" not in self.errors:
            self.add_error("at", "Say which second.")
        if cleaned.get("reference") and not cleaned.get("model"):
            self.add_error("model", "Say of which kind the item is.")
        return cleaned

    @property
    def which(self) -> Which:
        at: datetime | None = self.cleaned_data["at"]
        if self.cleaned_data["state"] == ANY_SECOND and at is not None:
            return Which(at=At(at.astimezone(UTC)))
        return Which(self.cleaned_data["state"])

    @property
    def only(self) -> Only | None:
        model = self.cleaned_data["model"]
        return Only(model, self.cleaned_data["reference"] or None) if model else None


@admin.register(LiveRestoreRequest)
class LiveRestoreRequestAdmin(TwoPersonAdmin):
    allows = frozenset({"add"})
    plan_template = PLAN
    refusals = READING
    list_display = (
        "what",
        "standing",
        "work",
        "requested_by",
        moment("requested_at", "asked"),
        "approved_by",
        moment("executed_at", "done"),
    )
    list_select_related = ("requested_by", "approved_by", "customer", "carrying_out")
    search_fields = ("customer__code", "customer__name")
    search_help_text = "Customer's name or short code"
    change_form_outer_before_template = "back_office/live_restore.html"
    fieldsets = (
        ("What", {"fields": ("customer", moment("state_at", "state of"), "from_what", "only_what")}),
        *TwoPersonAdmin.fieldsets,
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    @display(description="from")
    def from_what(self, asked: LiveRestoreRequest) -> str:
        return f"the set {asked.set_id}" if asked.set_id else "any second: sets and segments"

    @display(description="only")
    def only_what(self, asked: LiveRestoreRequest) -> str:
        if not asked.only_model:
            return "everything"
        return asked.only_model + (f", keys {', '.join(map(str, asked.only_keys))}" if asked.only_keys else "")

    @display(description="carrying out")
    def work(self, asked: Any) -> str:
        row = getattr(asked, "carrying_out", None)
        return row.get_state_display() if row is not None else "–"

    # Asking

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> Any:
        """The form, and beside it what would change: each POST computes that; only the one with "Ask for it" stores a request."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if "customer" not in request.GET:
            messages.info(request, "Open a customer, or one of its backup sets, and press “Restore into live tables”.")
            return redirect("admin:l2l_subscriptions_customer_changelist")
        customer = _visible_customer(request)
        form = _form(request, customer)
        context: dict[str, Any] = {}
        if request.method == "POST" and form.is_valid():
            context = self._previewed(request, form, customer)
            if "_ask" in request.POST and not form.errors and (asked := self._ask(request, form, customer)) is not None:
                return redirect(self.url("change", asked.pk))
        context |= {"form": form, "plan_template": PLAN, "customer": customer, "original": customer}
        return self.page(request, "back_office/live_restore_ask.html", f"Restore {customer.name} into the live tables", **context)

    def _previewed(self, request: HttpRequest, form: AskForm, customer: Customer) -> dict[str, Any]:
        try:
            plan = requests.preview(vaults.from_settings(), customer.pk, form.which, form.only)
        except (*REFUSALS, *READING) as refusal:
            form.add_error(None, refusal_text(refusal))
            return {}
        return plan_shown(plan, request.user)

    def _ask(self, request: HttpRequest, form: AskForm, customer: Customer) -> LiveRestoreRequest | None:
        about: dict[str, Any] = {"by": request.user, "why": form.cleaned_data["why"], "now": clock.now(), "only": form.only}
        try:
            asked = requests.ask(vaults.from_settings(), customer, form.which, **about)
        except (*REFUSALS, *READING) as refusal:
            form.add_error(None, refusal_text(refusal))
            return None
        messages.success(request, "Asked. It is done once another person approves it: tell them.")
        return asked

    # One request

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        asked = self.visible_object(request, object_id)
        row = LiveRestore.objects.filter(pk=asked.pk).first()
        context: dict[str, Any] = {
            "row": row,
            "row_kind": STANDINGS.get(LiveRestore.State(row.state), "bad") if row else "",
            "at_work": row is not None and row.state in AT_WORK,
            "again_url": f"{self.url('add')}?{urlencode(again(asked))}" if self.has_add_permission(request) else "",
        }
        if asked.state == State.VOID:
            context |= self.plan_for(asked, request.user)
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def steps(self, asked: Any, user: Any) -> list[tuple[str, str, bool]]:
        row = LiveRestore.objects.filter(pk=asked.pk).first()
        hidden = {"finish"} if row is not None and row.state in AT_WORK else set()
        return [step for step in super().steps(asked, user) if step[0] not in hidden]

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        return self.plan_for(asked, user) | {"plan_template": self.plan_template}

    def plan_for(self, asked: Any, user: Any) -> dict[str, Any]:
        try:
            return plan_shown(requests.plan_of(vaults.from_settings(), asked), user, approved=asked.plan_digest)
        except READING as trouble:
            return {"plan_trouble": str(trouble)}

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        requests.approve(vaults.from_settings(), asked, by=by, password=password, now=clock.now())
        queueing.queue_live_restores(clock.now())
        return "Approved: the worker carries it out; this page shows how far it is."

    def finish(self, asked: Any) -> str:
        requests.waiting(asked)
        queueing.queue_live_restores(clock.now())
        return "The worker carries it out; this page shows how far it is."


def plan_shown(plan: Plan, user: Any, *, approved: str = "") -> dict[str, Any]:
    """What a plan would change, for a person. `moved`: it is not what was asked for any more."""
    return {
        "plan": plan,
        "models_shown": shown(plan, user),
        "totals": requests.in_words(plan),
        "moved": bool(approved) and requests.digest_of(plan) != approved,
    }


def _form(request: HttpRequest, customer: Customer) -> AskForm:
    if request.method == "POST":
        return AskForm(customer, request.POST)
    chosen = {name: request.GET[name] for name in ("state", "at", "model", "reference") if request.GET.get(name)}
    return AskForm(customer, initial=chosen)


def _visible_customer(request: HttpRequest) -> Customer:
    found = Customer.objects.visible_to(request.user).filter(pk=as_uuid(request.GET.get("customer")) or uuid.UUID(int=0)).first()
    if found is None:
        raise Http404("There is no such customer.")
    return found


def _sets_of(customer: Customer) -> list[tuple[str, str]]:
    made = BackupSet.objects.filter(stream=customer.pk, state=BackupSet.State.MADE, complete_at__isnull=False).defer("blob_ids")
    return [
        (str(one.pk), f"Set of the night of {one.night:%-d %b %Y}, state of {in_utc(one.snapshot_at or one.started_at)}")
        for one in made.order_by("-started_at")[:SETS_OFFERED]
    ]


def again(asked: LiveRestoreRequest) -> dict[str, str]:
    """The form as it was, but for the item's name, which the request does not have."""
    second = asked.state_at.astimezone(UTC) + (timedelta(seconds=1) if asked.state_at.microsecond else timedelta())  # never before it
    at = f"{second:%Y-%m-%dT%H:%M:%S}"
    state = {"state": str(asked.set_id)} if asked.set_id else {"state": ANY_SECOND, "at": at}
    return {"customer": str(asked.customer_id), "model": asked.only_model, **state}
