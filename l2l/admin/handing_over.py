"""Customers are handed over and taken on, one or many at once: a page each that says what will happen, and does it by POST."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from unfold.widgets import UnfoldAdminFileFieldWidget, UnfoldAdminSelectWidget

from audit import actors
from audit.decisions import Decision, ReasonForm, decide
from audit.roles import HANDS_CUSTOMERS_OVER
from l2l.admin.past_term import PastTermPages
from subscriptions import handing_over
from subscriptions.admin import as_uuid
from subscriptions.admin.uploads import as_refusal
from subscriptions.handing_over import HandingOverRefused
from subscriptions.importing.customers import COLUMNS, import_customers
from subscriptions.importing.report import FileRefused, counted
from subscriptions.models import Customer

# Chosen in the list one by one; all of a manager's have no limit.
AT_ONCE = 100
NAMED = 20
NOBODYS = "none"


class HandOverForm(ReasonForm):
    to = forms.ModelChoiceField(
        label="To",
        queryset=get_user_model().objects.none(),
        widget=UnfoldAdminSelectWidget,
        help_text="An active person with the role of an account manager.",
    )
    field_order = ("to", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["to"].queryset = handing_over.account_managers()  # type: ignore[attr-defined]


class ImportForm(ReasonForm):
    file = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget,
        help_text=f"CSV in UTF-8: the columns {', '.join(COLUMNS.required)}; also {', '.join(COLUMNS.optional)}.",
    )
    field_order = ("file", "reason")


class HandingOverPages(PastTermPages):
    """Pages and the action of the customers' admin."""

    list_before_template = "back_office/customer_list.html"

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("hand-over/", self.hand_over_view, "hand_over"),
            self.view_path("import/", self.import_view, "import"),
            *super().get_urls(),
        ]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if not request.user.has_perm(HANDS_CUSTOMERS_OVER):
            return {}
        return {"hand_over": (_chosen_in_the_list, "hand_over", "Hand over …")}

    def hand_over_view(self, request: HttpRequest) -> HttpResponse:
        """`?customer=ID` (also several), or `?manager=ID` for all of one account manager's, `none` for those that nobody looks after."""
        if not request.user.has_perm(HANDS_CUSTOMERS_OVER):
            raise PermissionDenied
        chosen = list(_asked_for(request).order_by("code"))
        if not chosen:
            messages.info(request, "No customer was chosen: tick some in the list, and choose “Hand over …”.")
            return redirect(self.url("changelist"))
        names = ", ".join(str(one) for one in chosen[:NAMED]) + (f", and {len(chosen) - NAMED} more" if len(chosen) > NAMED else "")
        decision = Decision(
            f"Hand over {chosen[0].name}?" if len(chosen) == 1 else f"Hand over {counted(len(chosen), 'customer')}?",
            (
                f"{names}.",
                "From then on the new account manager sees and looks after them, and the one of now does not. What waits for a decision "
                "stays as it is, and so does every term.",
            ),
            "Hand over",
            _back(request, chosen, self.url("changelist")),
        )

        seen = _digest(chosen)

        def act(values: Mapping[str, Any]) -> str:
            if "manager" in request.GET and request.POST.get("seen") != seen:
                raise HandingOverRefused("Other customers are among them than when you opened the page. None was handed over: look again.")
            moved = handing_over.hand_over(chosen, to=values["to"], by=request.user, why=values["reason"])
            same = len(chosen) - len(moved)
            return f"{counted(len(moved), 'customer')} handed over to {values['to']}{f'; {same} were theirs already' if same else ''}."

        return decide(self, request, decision, HandOverForm, act, carried=[("seen", seen)])

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Many new customers from one file."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        decision = Decision(
            "Import customers",
            (
                "The whole file is checked first: either all of its new customers are added, each with its first subscription, or none is.",
                "Customers that are known already are left as they are; a file that says something else of one is refused.",
            ),
            "Import",
            self.url("changelist"),
        )

        def act(values: Mapping[str, Any]) -> str:
            with actors.because(values["reason"]):
                try:
                    done = import_customers(values["file"], values["file"].name, by=request.user)
                except FileRefused as refused:
                    raise as_refusal(refused) from refused
            return f"{counted(len(done.added), 'customer')} added, {done.known:,} known already."

        return decide(self, request, decision, ImportForm, act)


def hand_over_url(**asked: Any) -> str:
    return f"{reverse('admin:l2l_subscriptions_customer_hand_over')}?{urlencode(asked, doseq=True)}"


def _asked_for(request: HttpRequest) -> models.QuerySet[Customer, Customer]:
    """Those of the address that the person may see."""
    visible, manager = Customer.objects.visible_to(request.user), request.GET.get("manager", "")
    if manager == NOBODYS:
        return visible.filter(pk__in=handing_over.unmanaged().values("pk"))
    if manager:
        return (
            visible.filter(account_manager=int(manager))
            if manager.isascii() and manager.isdigit() and len(manager) < 10
            else visible.none()
        )
    keys = [key for text in request.GET.getlist("customer")[:AT_ONCE] if (key := as_uuid(text)) is not None]
    return visible.filter(pk__in=keys)


def _digest(chosen: list[Customer]) -> str:
    """Of who is on the page: all of a manager's may be others by the time somebody says yes."""
    return hashlib.sha256(" ".join(sorted(str(one.pk) for one in chosen)).encode()).hexdigest()


def _back(request: HttpRequest, chosen: list[Customer], customers: str) -> str:
    """The customer's page while that may be seen afterwards, else the list."""
    if len(chosen) == 1 and request.user.has_perm("l2l_subscriptions.view_all_customers"):
        return reverse("admin:l2l_subscriptions_customer_overview", args=[chosen[0].pk])
    return customers


def _chosen_in_the_list(model_admin: HandingOverPages, request: HttpRequest, queryset: models.QuerySet) -> HttpResponse | None:
    """The action of the list: goes on to the page that asks."""
    keys = list(queryset.values_list("pk", flat=True)[: AT_ONCE + 1])
    if len(keys) > AT_ONCE:
        messages.error(request, f"Choose at most {AT_ONCE} customers at once; all of one account manager's are handed over from “My work”.")
        return None
    return redirect(hand_over_url(customer=keys))
