"""Findings: what is not as promised, who clears it up and until when, and what became of it (P13)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.timezone import localdate
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from audit import clock, controls, findings
from audit.admin import TrackedAdmin, display, moment
from audit.badges import badge
from audit.decisions import DayInput, Decision, decide
from audit.findings import LABELS, Kind
from audit.models import Finding
from subscriptions.admin import of_visible_customers
from subscriptions.models import Customer

OF_A_CONTROL = "control:"


class StandingFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "standing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("open", "Open"), ("overdue", "Overdue"), ("closed", "Closed")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        if self.value() == "overdue":
            return queryset.filter(closed_at=None, due_on__lt=localdate(clock.now()))
        if self.value() in ("open", "closed"):
            return queryset.filter(closed_at__isnull=self.value() == "open")
        return queryset


class KindFilter(admin.SimpleListFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind.value, label.capitalize()) for kind, label in LABELS.items()]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet) -> models.QuerySet:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class CloseForm(forms.Form):
    cause = forms.CharField(max_length=2000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}), help_text="Why it came to be so.")
    resolution = forms.CharField(
        label="What was done",
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="And how you know that it is as promised again. Both stay for good: quote nothing of the customer's data.",
    )


class PostponeForm(forms.Form):
    due_on = forms.DateField(label="Due on", widget=DayInput, initial=lambda: localdate(clock.now()) + timedelta(days=7))
    why = forms.CharField(label="Why it takes longer", max_length=1000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))


def _owners() -> models.QuerySet:
    """Those who may close it."""
    app, _, codename = findings.CHANGES.partition(".")
    right = models.Q(groups__permissions__content_type__app_label=app, groups__permissions__codename=codename)
    return get_user_model().objects.filter(right, is_active=True).distinct().order_by("username")


class TakeForm(forms.Form):
    owner = forms.ModelChoiceField(
        queryset=get_user_model().objects.none(), widget=UnfoldAdminSelectWidget, help_text="Who clears it up by its due date."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["owner"].queryset = _owners()  # type: ignore[attr-defined]


@admin.register(Finding)
class FindingAdmin(TrackedAdmin):
    list_display = ("label", "standing", "of_customer", "text_shortly", "owner", "due_on", moment("opened_at", "opened"))
    list_filter = (StandingFilter, KindFilter)
    list_select_related = ("owner",)
    list_before_template = "back_office/findings.html"
    search_fields = ("text", "subject")
    search_help_text = "Words of what was found"
    ordering = (models.F("closed_at").desc(nulls_first=True), "due_on", "pk")
    change_form_outer_before_template = "back_office/finding.html"
    fieldsets: Any = (
        (
            "Found",
            {
                "fields": (
                    "label",
                    "of_customer",
                    "text",
                    moment("opened_at", "opened"),
                    "opened_by",
                    moment("seen_at", "last seen"),
                    "subject",
                )
            },
        ),
        ("To be cleared up", {"fields": ("owner", "due_on")}),
        ("Closed", {"fields": (moment("closed_at", "closed"), "closed_by", "cause", "resolution")}),
    )

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        """What belongs to no customer is for those who see all of them."""
        return of_visible_customers(user, rows, "customer")

    def visible_history(self, user: Any, rows: Any) -> Any:
        return of_visible_customers(user, rows, "customer")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        code_of = Customer.objects.filter(pk=models.OuterRef("customer")).values("code")
        return super().get_queryset(request).annotate(customer_code=models.Subquery(code_of))

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Of an open one the text stands above, and nothing is closed."""
        found, *others, closed = self.fieldsets
        if obj is None or not obj.is_open:
            return [found, *others, closed]
        title, options = found
        return [(title, {"fields": tuple(name for name in options["fields"] if name != "text")}), *others]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets for field in options["fields"]]

    @display(description="what", ordering="kind")
    def label(self, finding: Finding) -> str:
        return label_of(finding)

    @display(description="state")
    def standing(self, finding: Finding) -> str:
        return badge(*standing_of(finding))

    @display(description="customer")
    def of_customer(self, finding: Any) -> str:
        return finding.customer_code or "–"

    @display(description="found")
    def text_shortly(self, finding: Finding) -> str:
        return finding.text if len(finding.text) <= 120 else f"{finding.text[:119]}…"

    # One finding

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> Any:
        finding = self.visible_object(request, object_id)
        word, kind = standing_of(finding)
        steps = [(label, self.url(name, finding.pk)) for name, label in _steps(finding, request.user)]
        context = {
            "control_page": control_page(finding.subject),
            "finding": finding,
            "label": label_of(finding),
            "word": word,
            "kind": kind,
            "steps": steps,
        }
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/take/", self.take_view, "take"),
            self.view_path("<path:object_id>/postpone/", self.postpone_view, "postpone"),
            self.view_path("<path:object_id>/close/", self.close_view, "close"),
            *super().get_urls(),
        ]

    def take_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        finding = self._for_step(request, object_id, "take")
        decision = Decision(
            "Who clears this up",
            (f"Due on {finding.due_on:%-d %B %Y}: {finding.text}", "The owner sees it on the first page until it is closed."),
            "Name the owner",
            self.url("change", finding.pk),
        )

        def act(values: Mapping[str, Any]) -> str:
            findings.take(finding, owner=values["owner"], by=request.user, now=clock.now())
            return f"{values['owner']} clears it up."

        return decide(self, request, decision, TakeForm, act, original=finding)

    def postpone_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        finding = self._for_step(request, object_id, "postpone")
        decision = Decision(
            "It takes longer",
            (f"It was due on {finding.due_on:%-d %B %Y}: {finding.text}", "The old date stays in its history."),
            "Set the new date",
            self.url("change", finding.pk),
        )

        def act(values: Mapping[str, Any]) -> str:
            findings.postpone(finding, **values, by=request.user, now=clock.now())
            return f"It is due on {values['due_on']:%-d %B %Y}."

        return decide(self, request, decision, PostponeForm, act, original=finding)

    def close_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        finding = self._for_step(request, object_id, "close")
        decision = Decision(
            "Close the finding",
            (finding.text, "Closed is closed: should it be found again, it is a new finding."),
            "Close it",
            self.url("change", finding.pk),
        )

        def act(values: Mapping[str, Any]) -> str:
            findings.close(finding, **values, by=request.user, now=clock.now())
            return "It is closed, with its cause and what was done."

        return decide(self, request, decision, CloseForm, act, original=finding)

    def _for_step(self, request: HttpRequest, object_id: str, step: str) -> Finding:
        finding: Finding = self.visible_object(request, object_id)
        if step not in [name for name, _ in _steps(finding, request.user)]:
            raise PermissionDenied
        return finding


def label_of(finding: Finding) -> str:
    """What it is, in words; a kind that this version does not know stands for itself."""
    return label_of_kind(finding.kind)


def label_of_kind(kind: str) -> str:
    return LABELS[Kind(kind)] if kind in list(Kind) else kind


def control_page(subject: str) -> str:
    """The page of the control that a finding or an alarm is about; empty where it is about none that there is."""
    name = subject.removeprefix(OF_A_CONTROL)
    return reverse("admin:control", args=[name]) if name != subject and controls.by_name(name) else ""


def standing_of(finding: Finding) -> tuple[str, str]:
    """Its state in words, and how bad that is."""
    if not finding.is_open:
        return "closed", "good"
    return ("overdue", "bad") if finding.is_overdue(localdate(clock.now())) else ("open", "warn")


def _steps(finding: Finding, user: Any) -> list[tuple[str, str]]:
    """What this person may do with it now."""
    if not (finding.is_open and user.has_perm(findings.CHANGES)):
        return []
    return [("take", "Name its owner …"), ("postpone", "It takes longer …"), ("close", "Close it …")]
