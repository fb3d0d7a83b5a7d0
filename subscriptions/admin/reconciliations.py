"""Our customers against billing's list: each comparison as it was, and the next one from an uploaded file (P1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import NoReverseMatch, reverse
from unfold.widgets import UnfoldAdminFileFieldWidget

from audit import clock
from audit.admin import BackOfficeAdmin, display, moment
from audit.badges import badge
from audit.decisions import Decision, decide
from subscriptions.admin.uploads import as_refusal
from subscriptions.importing.report import FileRefused, counted
from subscriptions.models import Customer, Reconciliation
from subscriptions.reconciling import COLUMNS, MEANINGS, differences, differing, reconcile, summary

SHOWN = 200


class BillingForm(forms.Form):
    file = forms.FileField(
        label="Billing's list",
        widget=UnfoldAdminFileFieldWidget,
        help_text=f"CSV in UTF-8: the column {COLUMNS.required[0]}, and {', '.join(COLUMNS.optional)} where billing has them.",
    )


@admin.register(Reconciliation)
class ReconciliationAdmin(BackOfficeAdmin):
    allows = frozenset({"add"})
    list_display = (moment("at", "compared"), "by", "billed", "ours", "matched", "standing")
    list_before_template = "back_office/reconciliation_list.html"

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows if user.has_perm("l2l_subscriptions.view_all_customers") else rows.none()

    @display(description="differences")
    def standing(self, kept: Reconciliation) -> str:
        return badge(counted(differing(kept), "difference"), "bad", summary(kept)) if kept.differences else badge("the same", "good")

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        decision = Decision(
            "Compare with billing",
            (
                "Whoever is billed and unknown here is backed up by nobody: that is what this finds, and the other way round.",
                "The comparison is kept for good, with the digest of the file. Nothing of a customer is changed by it; what differs "
                "opens a finding, which closes when a later list agrees.",
            ),
            "Compare",
            self.url("changelist"),
        )
        made: list[Reconciliation] = []

        def act(values: Mapping[str, Any]) -> str:
            try:
                made.append(reconcile(values["file"], values["file"].name, now=clock.now(), by=request.user))
            except FileRefused as refused:
                raise as_refusal(refused) from refused
            return "Compared: nothing differs." if not made[0].differences else f"Compared: {summary(made[0])}."

        response = decide(self, request, decision, BillingForm, act)
        return redirect(self.url("change", made[0].pk)) if made else response

    def change_view(self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        kept = self.visible_object(request, object_id)
        shown = [(MEANINGS[kind], len(named), named[:SHOWN]) for kind, named in differences(kept)]
        pages = _pages({names[0] for _, _, named in shown for names in named}, request.user)
        return self.page(
            request,
            "back_office/reconciliation.html",
            f"Compared with billing on {kept}",
            kept=kept,
            count=differing(kept),
            shown=[
                (meaning, advice, count, [(names, pages.get(names[0], "")) for names in named], count - len(named))
                for (meaning, advice), count, named in shown
            ],
        )


def _pages(codes: set[str], user: Any) -> dict[str, str]:
    """The page of each of these customers that there is and that the person may see, by short code."""
    if not user.has_perm("l2l_subscriptions.view_customer"):
        return {}
    found = Customer.objects.visible_to(user).filter(code__in=codes).values_list("code", "pk")
    try:
        return {code: reverse("admin:l2l_subscriptions_customer_overview", args=[pk]) for code, pk in found}
    except NoReverseMatch:
        return {}  # another project's admin has no such page
