"""Content past its term, of one customer: how much, when it goes, and who decides (P9)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponseBase, HttpResponseNotAllowed
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.text import capfirst

from audit import clock
from backups.admin.purges import items_of
from backups.models import Purge, PurgeRequest
from backups.purge.holding_sets import holding
from backups.purge.requests import OPEN
from l2l.admin.finding import FindingPages
from subscriptions import holds, past_term
from subscriptions.models import Customer
from subscriptions.past_term import HORIZONS, Item, Listed
from subscriptions.terms import Rule

EXAMPLES = 10
PURGES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """One model and rule: how many go by each day, and the first of them for who may see such rows."""

    name: str
    listed: Listed
    by: list[tuple[date, int]]
    may_see: bool
    first: list[Item]


class PastTermPages(FindingPages):
    """The page of a customer; what it leads to is `PurgeRequestAdmin`'s."""

    def get_urls(self) -> list[Any]:
        return [self.view_path("<path:object_id>/past-term/", self.past_term_view, "past_term"), *super().get_urls()]

    def past_term_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Counted anew each time, from history."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        customer, now = self.visible_object(request, object_id), clock.now()
        found, today = past_term.listed(customer, now), past_term.today_of(customer, now)
        days = [today + timedelta(days=ahead) for ahead in HORIZONS]
        sees = request.user.has_perm(PurgeRequest.permission("view"))
        purges = list(Purge.objects.filter(customer=customer).defer("digests", "numbers")[:PURGES_SHOWN])
        return self.page(
            request,
            "back_office/past_term.html",
            f"Content past its term of {customer.name}",
            original=customer,
            customer=customer,
            days=days,
            shown=list(_shown(customer, found, days, request.user)),
            held=bool(holds.held([customer.pk])),
            overdue=past_term.overdue(customer, now),
            asking=list(_asking(customer, found, today)) if request.user.has_perm(PurgeRequest.permission("add")) else [],
            open_requests=PurgeRequest.objects.filter(customer=customer, state__in=OPEN) if sees else [],
            purges=[(one, items_of(one), holding(customer.pk, one.purged_at)) for one in purges] if sees else [],
        )


def _shown(customer: Customer, found: list[Listed], days: list[date], user: Any) -> Iterator[Shown]:
    for one in found:
        meta = one.protected.model._meta
        may_see = user.has_perm(f"{meta.app_label}.view_{meta.model_name}")
        spans = past_term.spans_on(customer, days[-1], (one.rule,)) if may_see else []
        yield Shown(
            capfirst(str(meta.verbose_name_plural)),
            one,
            list(zip(days, one.by, strict=True)),
            may_see,
            past_term.examples(customer, one.protected, spans, EXAMPLES) if spans else [],
        )


def _asking(customer: Customer, found: list[Listed], today: date) -> Iterator[tuple[str, str]]:
    """What this person may ask for now: label and address."""
    add = reverse("admin:l2l_backups_purgerequest_add")
    if any(one.by[0] for one in found if one.rule == Rule.TWENTY_YEARS):
        about = {"customer": customer.pk, "term": PurgeRequest.Term.STANDARD.value, "day": today}
        yield "Ask for the purge of what is past 20 years …", f"{add}?{urlencode(about)}"
    if any(one.by[-1] for one in found if one.rule == Rule.AGREED_TERM):
        about = {"customer": customer.pk, "term": PurgeRequest.Term.AGREED.value, "day": today + timedelta(days=90)}
        yield "Ask ahead for what an agreed term lets go …", f"{add}?{urlencode(about)}"
