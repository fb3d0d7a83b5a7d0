"""A subscription is renewed: what follows it, and what that cancels, before it is done (P9, P10)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from django.utils.dateformat import format as day_text
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.admin import TrackedAdmin
from audit.decisions import DayInput, Decision, decide
from subscriptions import renewing, terms
from subscriptions.models import Customer, DeletionRequest, Subscription
from subscriptions.term_requests import CHANGES_TERMS


class RenewForm(forms.Form):
    end = forms.DateField(label="Last day", required=False, widget=DayInput, help_text="Empty while none is agreed.")
    agreement_number = forms.CharField(max_length=64, required=False, widget=UnfoldAdminTextInputWidget)
    why = forms.CharField(
        label="Why",
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Which document says so. Stands in the history for good, with your name and the time.",
    )

    def __init__(self, *args: Any, number: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["agreement_number"].help_text = f"Empty: {number}."


class RenewalPages(TrackedAdmin):
    """The page, for the subscriptions' admin."""

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/renew/", self.renew_view, "renew"), *super().get_urls()]

    def renew_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Says from when on and on which terms it goes on; its POST stores the next subscription."""
        subscription = self.visible_object(request, object_id)
        if not request.user.has_perm(CHANGES_TERMS):
            raise PermissionDenied
        customer, ending = subscription.customer, renewing.ending_of(subscription.customer)
        refusal = renewing.why_not(subscription, customer)
        if refusal:
            self.message_user(request, refusal, "ERROR")
            return redirect(self.url("change", subscription.pk))
        number = renewing.next_number(subscription.agreement_number)
        back = _customer_page(customer) or self.url("change", subscription.pk)
        decision = Decision(f"Renew {subscription.agreement_number} of {customer.name}?", _effect(subscription, ending), "Renew", back)

        def act(values: Mapping[str, Any]) -> str:
            done = renewing.renew(subscription, by=request.user, now=clock.now(), **values)
            cancelled = " The end of the customer is cancelled, and its data can be written again." if done.cancelled else ""
            return f"{done.subscription.agreement_number} goes on from {done.subscription.start:%-d %B %Y}.{cancelled}"

        return decide(self, request, decision, partial(RenewForm, number=number), act, original=subscription)  # type: ignore[arg-type]


def _effect(subscription: Subscription, ending: DeletionRequest | None) -> tuple[str, ...]:
    day = day_text(subscription.end, "j F Y") if subscription.end else ""
    destroyed = terms.destruction_days([subscription.terms]).reason
    years = subscription.agreed_retention_years
    kept = f"{years} years, as agreed" if years else "for the subscription or 20 years, whichever is first"
    found = [
        f"The next subscription begins on the day after {day}, without a gap, on the same terms: data is kept {kept}, and destroyed within "
        f"{destroyed}. To agree on others, renew first, then “Change the terms”."
    ]
    if ending is not None:
        found.append(
            f"The customer's end is under way ({ending.state}). Renewing cancels it: the data is thawed, and backups go on. The nights "
            "that were excused meanwhile stay excused."
        )
    return tuple(found)


def renew_url(subscription: Subscription, user: Any) -> str:
    """Where this person renews it; empty for who may not, and for one without a last day."""
    if subscription.end is None or not user.has_perm(CHANGES_TERMS):
        return ""
    return reverse("admin:l2l_subscriptions_subscription_renew", args=[subscription.pk])


def _customer_page(customer: Customer) -> str:
    try:
        return reverse("admin:l2l_subscriptions_customer_overview", args=[customer.pk])
    except NoReverseMatch:
        return ""  # another project's admin has no such page
