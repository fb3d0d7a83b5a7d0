"""Find in backups: a text, the items of the customer that have or had it, their versions, and "give me this one"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminTextInputWidget

from audit import clock, registry
from audit.admin import TrackedAdmin
from audit.decisions import Decision, ReasonForm, decide
from audit.moments import in_utc_to_the_second
from audit.registry import Protected
from backups import finding, item_exports
from backups.admin.item_exports import TAKE
from backups.errors import BackupError
from backups.finding import Item
from backups.models import ItemExport
from subscriptions.models import Customer

SHORTEST = 2
WORDS = {"+": "added", "~": "changed", "-": "deleted"}


class FindForm(forms.Form):
    q = forms.CharField(
        label="Reference, or any text in it",
        min_length=SHORTEST,
        max_length=200,
        widget=UnfoldAdminTextInputWidget(attrs={"autofocus": True, "type": "search"}),
    )


class FindingPages(TrackedAdmin):
    """The pages, for the customers' admin."""

    def get_urls(self) -> list[Any]:
        return [
            self.view_path("<path:object_id>/find/", self.find_view, "find"),
            self.view_path("<path:object_id>/take/", self.take_view, "take"),
            *super().get_urls(),
        ]

    def find_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Looks in the live data and in history, which is immediate: what they do not know is looked for at the command line."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer = self.visible_object(request, object_id)
        form = FindForm(request.GET or None)
        found = None
        if form.is_valid():
            found = finding.find(customer.pk, form.cleaned_data["q"], _seen_by(request.user, customer))
        return self.page(
            request,
            "back_office/find.html",
            f"Find in the backups of {customer.name}",
            original=customer,
            customer=customer,
            form=form,
            found=found,
            items=[(one, self._versions(request, customer, one)) for one in found.items] if found else [],
            asked=ItemExport.objects.filter(stream=customer.pk)[:5],
        )

    def _versions(self, request: HttpRequest, customer: Customer, one: Item) -> list[dict[str, Any]]:
        may_take = request.user.has_perm(TAKE)

        def address(history_id: int) -> str:
            return f"{self.url('take', customer.pk)}?{urlencode([('model', one.model), ('key', one.key), ('version', str(history_id))])}"

        return [
            {"version": version, "word": WORDS[version.kind], "url": address(version.history_id) if may_take else ""}
            for version in one.versions
        ]

    def take_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks for the reason; its POST has the queue take the item from the backups, on whose page one sees it come."""
        customer = self.visible_object(request, object_id)
        if not request.user.has_perm(TAKE):
            raise PermissionDenied
        back = self.url("find", customer.pk)
        if not request.GET.get("model"):
            messages.info(request, "Look for the item first, then choose one of its versions.")
            return redirect(back)
        protected, one, history_id = _chosen(request, customer)
        at = next((version.at for version in one.versions if version.history_id == history_id), None)
        decision = Decision(
            f"Take {one.reference} from the backups?",
            (
                "The worker takes it with its whole history and files from the sets and segments, every byte checked"
                + (f", and the version of {in_utc_to_the_second(at)} by itself." if at else "."),
                "It leaves the back office: it stands in the list of exports with your name and reason, can be downloaded for a week, "
                "and each download is recorded.",
            ),
            "Give me this one",
            back,
        )
        asked: list[ItemExport] = []

        def act(values: Mapping[str, Any]) -> str:
            now = clock.now()
            asked.append(item_exports.ask(customer.pk, protected, one.key, history_id, now, reason=values["reason"]))
            return "It is asked for; this page shows how far it is."

        response = decide(self, request, decision, ReasonForm, act, refusals=(BackupError,), original=customer, customer=customer)
        return redirect(reverse("admin:l2l_backups_itemexport_change", args=[asked[0].pk])) if asked else response


def _seen_by(user: Any, customer: Customer) -> list[Protected]:
    """The customer's models whose rows this person may see."""
    opts = [(one, one.model._meta) for one in registry.of_stream(customer.pk)]
    return [one for one, meta in opts if user.has_perm(f"{meta.app_label}.view_{meta.model_name}")]


def _chosen(request: HttpRequest, customer: Customer) -> tuple[Protected, Item, int | None]:
    """The item and the version that the address names; 404 for what this person may not see."""
    protected = registry.by_label(request.GET["model"])
    version = request.GET.get("version", "")
    if protected is None or protected not in _seen_by(request.user, customer):
        raise Http404("There is no such item.")
    try:
        found = finding.item(customer.pk, protected, request.GET.get("key", ""))
    except (ValueError, forms.ValidationError):
        found = None
    if found is None:
        raise Http404("There is no such item.")
    return protected, found, int(version) if version.isdecimal() else None
