"""Legal holds: placed by one, reviewed on their date, released by two (P9). No form changes or deletes one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from audit import clock
from audit.admin import TrackedAdmin, display, moment
from audit.badges import badge
from audit.decisions import DayInput, Decision, ReasonForm, decide
from audit.moments import in_utc
from audit.states import State
from audit.two_person import TwoPersonRequest
from audit.two_person_admin import KINDS, TwoPersonAdmin
from subscriptions import holds
from subscriptions.admin.visible import CustomerFilter, as_uuid, of_visible_customers
from subscriptions.models import Customer, HoldReleaseRequest, LegalHold

REVIEWED_WITHIN = timedelta(days=90)
ASKS = HoldReleaseRequest.permission("add")


def today() -> date:
    return localdate(clock.now())


def next_review() -> date:
    """What the forms offer; nothing says how often holds are to be looked at."""
    return today() + REVIEWED_WITHIN


class ReviewDate(forms.DateField):
    def __init__(self, **options: Any) -> None:
        help_text = "On that day somebody looks whether it must stay; the hold does not end by itself."
        super().__init__(label="Review on", widget=DayInput, initial=next_review, help_text=help_text, **options)


class PlaceForm(forms.Form):
    holder = forms.CharField(
        label="Who demands it", max_length=200, widget=UnfoldAdminTextInputWidget, help_text="A court, an authority, counsel."
    )
    basis = forms.CharField(
        label="On what ground",
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Order, case or file number. Stands beside it for good, with your name and the time.",
    )
    review_on = ReviewDate()


class PostponeForm(forms.Form):
    review_on = ReviewDate()
    why = forms.CharField(
        label="Why it must stay",
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text="Stands in its history for good, with your name and the time.",
    )


class StandingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("due", "Review due or overdue"), ("released", "Released")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() == "due":
            return queryset.filter(released_at=None, review_on__lte=today())
        if self.value() in ("open", "released"):
            return queryset.filter(released_at__isnull=self.value() == "open")
        return queryset


@admin.register(LegalHold)
class LegalHoldAdmin(TrackedAdmin):
    allows = frozenset({"add"})
    list_display = (
        "customer",
        "holder",
        "standing",
        "review",
        "placed_by",
        moment("placed_at", "placed"),
        moment("released_at", "released"),
    )
    list_filter = (StandingFilter, CustomerFilter)
    list_select_related = ("customer",)
    list_before_template = None
    search_fields = ("holder", "basis", "customer__name", "customer__code")
    search_help_text = "Who demands it, on what ground, customer's name or code"
    ordering = (models.F("released_at").desc(nulls_first=True), "review_on")
    change_form_outer_before_template = "back_office/hold.html"
    fieldsets: Any = (
        ("Hold", {"fields": ("customer", "holder", "basis")}),
        ("Placed", {"fields": ("placed_by", moment("placed_at", "placed"), "review")}),
        ("Released", {"fields": ("released_by", "release_approved_by", moment("released_at", "released"), "release_reason")}),
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "customer")

    def visible_history(self, user: Any, rows: Any) -> Any:
        return of_visible_customers(user, rows, "customer_id")

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        shown = list(self.fieldsets)
        return shown[:-1] if obj is not None and obj.is_open else shown

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    @display(description="state")
    def standing(self, hold: LegalHold) -> str:
        if not hold.is_open:
            return badge("released")
        return badge("review due", "bad", "Somebody must look whether it must stay") if hold.is_due(today()) else badge("open", "info")

    @display(description="review on", ordering="review_on")
    def review(self, hold: LegalHold) -> str:
        text = f"{hold.review_on:%-d %b %Y}"
        return badge(review_words(hold), "bad", text) if hold.is_due(today()) else text

    # One hold

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        hold = self.visible_object(request, object_id)
        hidden = {"ask_for_release"} if hold.releases.filter(state__in=holds.UNDECIDED).exists() else set()
        context = {
            "hold": hold,
            "due": hold.is_due(today()),
            "review_words": review_words(hold),
            "others": others_of(hold),
            "releases": releases_of(hold) if request.user.has_perm(HoldReleaseRequest.permission("view")) else [],
            "steps": [(label, self.url(name, hold.pk)) for name, label in _steps(hold, request.user) if name not in hidden],
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/postpone/", self.postpone_view, "postpone"),
            self.view_path("<path:object_id>/ask-for-release/", self.ask_view, "ask_for_release"),
            *super().get_urls(),
        ]

    # Placing, postponing, asking for its release

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Says what will happen; its POST places the hold, at once."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        if "customer" not in request.GET:
            messages.info(request, "Open the customer, and press “Place a legal hold”.")
            return redirect("admin:l2l_subscriptions_customer_changelist")
        customer = _visible_customer(request)
        decision = Decision(
            f"Place a legal hold on {customer.name}",
            (
                "From now on nothing of this customer is removed for good: no backup set, no version and no file, by no term, no end of a "
                "subscription and no request. What is under way stops at its next step, and deadlines for the destruction wait.",
                "Nothing is hidden or frozen: the customer works on, is backed up, and gets its data when it asks for it.",
                "It stays until one person asks for its release and another approves that. No date ends it.",
            ),
            "Place the hold",
            reverse("admin:l2l_subscriptions_customer_overview", args=[customer.pk]),
        )
        placed: list[LegalHold] = []

        def act(values: Mapping[str, Any]) -> str:
            placed.append(holds.place(customer, **values, by=request.user, now=clock.now()))
            return f"The legal hold is in force: nothing of {customer.name} is removed from now on."

        response = decide(self, request, decision, PlaceForm, act, original=customer)
        return redirect(self.url("change", placed[0].pk)) if placed else response

    def postpone_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """For somebody who looked and found that it must stay."""
        hold = self._for_step(request, object_id, "postpone")
        decision = Decision(
            f"Postpone the review of the hold of {hold.holder} on {hold.customer.name}",
            (
                f"It was to be reviewed on {hold.review_on:%-d %B %Y}. You looked, and it must stay: say why, and when to look again.",
                "The hold itself does not change.",
            ),
            "Postpone the review",
            self.url("change", hold.pk),
        )

        def act(values: Mapping[str, Any]) -> str:
            holds.postpone_review(hold, **values, by=request.user, now=clock.now())
            return f"The next review is on {values['review_on']:%-d %B %Y}."

        return decide(self, request, decision, PostponeForm, act, original=hold)

    def ask_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """One asks; the hold stays until another approves."""
        hold = self._for_step(request, object_id, "ask_for_release")
        decision = Decision(
            f"Ask for the release of the hold of {hold.holder} on {hold.customer.name}",
            (
                "Until another person, who may approve releases, agrees with the password, nothing changes: the hold stays.",
                "After that what is agreed counts again, and what is over its term by then may be removed.",
            ),
            "Ask for the release",
            self.url("change", hold.pk),
            details="back_office/hold_release_plan.html",
        )
        asked: list[HoldReleaseRequest] = []

        def act(values: Mapping[str, Any]) -> str:
            asked.append(holds.request_release(hold, by=request.user, why=values["reason"], now=clock.now()))
            return "Asked. It is released once another person approves it: tell them."

        response = decide(self, request, decision, ReasonForm, act, original=hold, hold=hold, others=others_of(hold))
        return redirect("admin:l2l_subscriptions_holdreleaserequest_change", asked[0].pk) if asked else response

    def _for_step(self, request: HttpRequest, object_id: str, step: str) -> LegalHold:
        hold: LegalHold = self.visible_object(request, object_id)
        if step not in [name for name, _ in _steps(hold, request.user)]:
            raise PermissionDenied
        return hold


@admin.register(HoldReleaseRequest)
class HoldReleaseRequestAdmin(TwoPersonAdmin):
    """Asked for on the hold's page; decided here."""

    plan_template = "back_office/hold_release_plan.html"
    search_fields = ("hold__holder", "hold__customer__name", "hold__customer__code")
    search_help_text = "Who demands the hold, customer's name or code"
    fieldsets = (("Hold", {"fields": ("hold",)}), *TwoPersonAdmin.fieldsets)

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return of_visible_customers(user, rows, "hold__customer")

    def plan_context(self, asked: TwoPersonRequest, user: Any) -> dict[str, Any]:
        hold = asked.hold  # type: ignore[attr-defined]
        return {"hold": hold, "others": others_of(hold), "plan_template": self.plan_template}

    def carry_out(self, asked: Any, *, by: Any, password: str) -> str:
        return self._released(holds.release(asked, by=by, password=password, now=clock.now()))

    def finish(self, asked: Any) -> str:
        return self._released(holds.finish(asked, now=clock.now()))

    def _released(self, hold: LegalHold) -> str:
        return f"Released on {in_utc(hold.released_at)}: what is agreed with {hold.customer.name} counts again."  # type: ignore[arg-type]


def review_words(hold: LegalHold) -> str:
    """`due today`, `overdue for 3 days`; empty before."""
    days = (today() - hold.review_on).days
    if days < 0:
        return ""
    return "due today" if days == 0 else f"overdue for {days} day{'' if days == 1 else 's'}"


def others_of(hold: LegalHold) -> list[LegalHold]:
    """The customer's other open holds: they keep everything, whatever becomes of this one."""
    return list(LegalHold.objects.filter(customer=hold.customer_id, released_at=None).exclude(pk=hold.pk))


def releases_of(hold: LegalHold) -> list[tuple[HoldReleaseRequest, str]]:
    """Every request for its release, with the colour of its state."""
    return [(one, KINDS.get(State(one.state), "")) for one in hold.releases.select_related("requested_by", "approved_by")]


def _steps(hold: LegalHold, user: Any) -> list[tuple[str, str]]:
    """What this person may do with it now."""
    if not hold.is_open:
        return []
    steps = [("postpone", "Postpone the review …")] if user.has_perm(holds.PLACES) else []
    return steps + ([("ask_for_release", "Ask for its release …")] if user.has_perm(ASKS) else [])


def _visible_customer(request: HttpRequest) -> Customer:
    found = Customer.objects.visible_to(request.user).filter(pk=as_uuid(request.GET.get("customer")) or uuid.UUID(int=0)).first()
    if found is None:
        raise Http404("There is no such customer.")
    return found
