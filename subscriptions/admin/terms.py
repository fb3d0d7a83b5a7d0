"""Changing what was agreed with a customer: what if first; longer at once, shorter by two people and a week later (P5, P9)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models
from django.forms import modelform_factory
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminTextareaWidget

from audit import clock
from audit.admin import REFUSALS, display, moment, refusal_text
from audit.decisions import DayInput
from audit.moments import in_utc
from audit.states import State
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import TwoPersonAdmin
from subscriptions import holds, term_requests
from subscriptions.admin.visible import CustomerFilter, of_visible_customers
from subscriptions.models import Customer, Subscription, TermChangeRequest
from subscriptions.term_requests import WhatIf
from subscriptions.terms import AGREED, SHORTER_BEGINS_AFTER, KeptUntil, destruction_days, kept_until

PLAN = "back_office/terms_plan.html"


class TermsForm(forms.ModelForm):
    """The terms as somebody would have them, begun from what is agreed now. It is never saved: `term_requests` decides."""

    end = forms.DateField(label="Last day", required=False, widget=DayInput, help_text="Empty while it runs without an agreed end.")
    why = forms.CharField(
        label="Why",
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Which document says so. Stands in the history for good, and another person who decides reads it.",
    )

    @property
    def changes(self) -> dict[str, Any]:
        """The terms that differ from what is agreed now."""
        return {name: self.cleaned_data[name] for name in AGREED if name in self.changed_data}


class CustomerOfSubscription(CustomerFilter):
    def path(self, model: type[models.Model]) -> str:
        return "subscription__customer"


@admin.register(TermChangeRequest)
class TermChangeRequestAdmin(TwoPersonAdmin):
    """Begun from the subscription's page. What is longer is made at once there, and leaves no request."""

    allows = frozenset({"add"})
    plan_template = PLAN
    list_display = (
        "what",
        "standing",
        "requested_by",
        moment("requested_at", "asked"),
        "approved_by",
        moment("begins_at", "takes effect"),
        moment("executed_at", "done"),
    )
    list_filter = ("state", CustomerOfSubscription)
    list_select_related = ("requested_by", "approved_by", "subscription__customer")
    search_fields = ("subscription__agreement_number", "subscription__customer__name", "subscription__customer__code")
    search_help_text = "Agreement number, customer's name or short code"
    fieldsets = (
        ("Terms", {"fields": ("subscription", "changed", moment("begins_at", "takes effect"))}),
        *TwoPersonAdmin.fieldsets,
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "subscription__customer")

    @display(description="what changes")
    def changed(self, asked: TermChangeRequest) -> str:
        return asked.what

    # Asking

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """What if? Each POST shows what would change; only the one with the last button changes or stores anything."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if "subscription" not in request.GET:
            messages.info(request, "Open a subscription, and press “Change the terms”.")
            return redirect("admin:l2l_subscriptions_subscription_changelist")
        subscription = _visible_subscription(request)
        form = self._form(request, subscription)
        found = self._what_if(form, subscription) if request.method == "POST" and form.is_valid() else None
        if found is not None and "_do" in request.POST and (done := self._do(request, form, subscription)):
            return redirect(done)
        context = shown(found, subscription) if found is not None else {}
        return self.page(
            request,
            "back_office/terms_change.html",
            f"Change the terms of {subscription.agreement_number}",
            form=form,
            subscription=subscription,
            customer=subscription.customer,
            open_request=open_request(subscription),
            plan_template=PLAN,
            **context,
        )

    def _form(self, request: HttpRequest, subscription: Subscription) -> TermsForm:
        callback = partial(self.formfield_for_dbfield, request=request)
        form = modelform_factory(Subscription, form=TermsForm, fields=AGREED, formfield_callback=callback)
        working_copy = Subscription.objects.get(pk=subscription.pk)
        return form(request.POST if request.method == "POST" else None, instance=working_copy)  # type: ignore[return-value]

    def _what_if(self, form: TermsForm, subscription: Subscription) -> WhatIf | None:
        try:
            return term_requests.what_if(subscription, now=clock.now(), **form.changes)
        except REFUSALS as refusal:
            _add_refusal(form, refusal)
            return None

    def _do(self, request: HttpRequest, form: TermsForm, subscription: Subscription) -> str:
        """Where it leads to when it was done or asked for. Which of the two was on the button that the person saw."""
        about = {"by": request.user, "why": form.cleaned_data["why"], "now": clock.now(), **form.changes}
        try:
            if request.POST["_do"] == "at_once":
                term_requests.change_at_once(subscription, **about)
                messages.success(request, "The new terms are in force.")
                return reverse("admin:l2l_subscriptions_subscription_change", args=[subscription.pk])
            asked = term_requests.request_change(subscription, **about)
        except REFUSALS as refusal:
            _add_refusal(form, refusal)
            return ""
        messages.success(request, f"Asked. {DAYS_LATER} after another person approves it, it takes effect: tell them.")
        return self.url("change", asked.pk)

    # Deciding

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        subscription = asked.subscription  # type: ignore[attr-defined]
        context: dict[str, Any] = {"plan_template": self.plan_template, "customer": subscription.customer}
        try:
            found = term_requests.what_if(subscription, now=clock.now(), **asked.changes)  # type: ignore[attr-defined]
        except REFUSALS as refusal:
            return context | {"plan_trouble": refusal_text(refusal)}
        return context | shown(found, subscription) | {"moved": term_requests.is_moved(asked)}  # type: ignore[arg-type]

    def effect_of_approval(self, asked: TwoPersonRequest) -> str:
        return f"With your approval it takes effect {DAYS_LATER.lower()} later. Until then who asked, or who may approve, can cancel it."

    def steps(self, asked: Any, user: Any) -> list[tuple[str, str, bool]]:
        waits = asked.begins_at is not None and clock.now() < asked.begins_at
        return [step for step in super().steps(asked, user) if not (waits and step[0] == "finish")]

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        approved = term_requests.approve(asked, by=by, password=password, now=clock.now())
        return f"Approved: it takes effect on {in_utc(approved.begins_at)}." if approved.begins_at else "Approved."

    def finish(self, asked: Any) -> str:
        term_requests.finish(asked, now=clock.now())
        return "The new terms are in force."


DAYS_LATER = f"{SHORTER_BEGINS_AFTER.days} days"


@dataclass(frozen=True, slots=True)
class KeptShown:
    """Until when an item that last changed on some day is kept, under the terms of now and under the new ones."""

    label: str
    old: KeptUntil
    new: KeptUntil


def shown(found: WhatIf, subscription: Subscription) -> dict[str, Any]:
    """What a change would do, for a person."""
    return {
        "found": found,
        "differences": [
            (
                term_requests.label_of(one["name"]),
                *(term_requests.value_in_words(one["name"], one[when]) for when in ("old", "new")),
                one["shorter"],
            )
            for one in found.plan["changes"]
        ],
        "kept": _kept(found, subscription, clock.now()),
        "destroyed": (destruction_days(found.before), destruction_days(found.after)),
        "on_hold": subscription.customer_id in holds.held([subscription.customer_id]),
        "effects": [sentence for effect in found.effects for sentence in effect.sentences],
    }


def _kept(found: WhatIf, subscription: Subscription, now: datetime) -> list[KeptShown]:
    days: list[tuple[str, date]] = [("last changed today", localdate(now)), ("not changed since the first day", subscription.start)]
    return [KeptShown(label, kept_until(found.before, last_changed=day), kept_until(found.after, last_changed=day)) for label, day in days]


def open_request(subscription: Subscription) -> TermChangeRequest | None:
    """The one that waits for a decision or for its day."""
    return subscription.term_requests.filter(state__in=term_requests.UNDECIDED).first()


def change_terms_url(subscription: Subscription, user: Any) -> str:
    """Where this person changes its terms; empty for who may not."""
    if not user.has_perm(term_requests.CHANGES_TERMS):
        return ""
    return f"{reverse('admin:l2l_subscriptions_termchangerequest_add')}?subscription={subscription.pk}"


def open_requests(customer: Customer, user: Any) -> list[tuple[TermChangeRequest, bool]]:
    """What waits to change the customer's terms, for who may see it; and whether it is approved."""
    if not user.has_perm(TermChangeRequest.permission("view")):
        return []
    waiting = TermChangeRequest.objects.filter(subscription__customer=customer, state__in=term_requests.UNDECIDED)
    return [(one, one.state == State.APPROVED) for one in waiting.order_by("requested_at")]


def _visible_subscription(request: HttpRequest) -> Subscription:
    key = request.GET["subscription"]
    rows = of_visible_customers(request.user, Subscription.objects.select_related("customer"), "customer")
    found = rows.filter(pk=int(key)).first() if key.isascii() and key.isdigit() and len(key) < 19 else None
    if found is None:
        raise Http404("There is no such subscription.")
    return found


def _add_refusal(form: TermsForm, refusal: Exception) -> None:
    if isinstance(refusal, ValidationError) and hasattr(refusal, "error_dict"):
        for name, problems in refusal.error_dict.items():
            form.add_error(name if name in form.fields else None, problems)
    else:
        form.add_error(None, refusal_text(refusal))
