"""What a person is told of terms, purges and legal holds, of the customers that they may see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import reverse
from django.utils import timezone

from audit import clock
from audit.states import State
from backups.models import PurgeRequest, PurgeTry, TermLook
from l2l.admin.todos import Todo
from subscriptions.admin import of_visible_customers
from subscriptions.holds import due_for_review

SHOWN = 5


def term_todos(user: Any) -> Iterator[Todo]:
    """What an agreement let go and is there still; purges that failed; what waits for the account manager's decision."""
    if not user.has_perm(PurgeRequest.permission("view")):
        return
    looks = TermLook.objects.visible_to(user).select_related("stream")
    for look in looks.filter(overdue__gt=0).order_by("overdue_since")[:SHOWN]:
        text = f"{look.stream.name}: {_items(look.overdue)} should have gone by an agreed term, the first on {look.overdue_since}."
        yield Todo("bad", "Term", text, _past_term(look))
    failed = PurgeTry.objects.filter(request__state=State.APPROVED.value, passing=False).exclude(trouble="")
    for one in of_visible_customers(user, failed, "request__customer").select_related("request__customer")[:SHOWN]:
        link = reverse("admin:l2l_backups_purgerequest_change", args=[one.pk])
        yield Todo("bad", "Purge", f"{one.request.customer.code}: {one.trouble}", link)
    if user.has_perm(PurgeRequest.permission("add")):
        yield from _undecided_todos(looks)


def _undecided_todos(looks: Any) -> Iterator[Todo]:
    """What the account manager has not asked for, of what somebody must decide on."""
    for term, kind, says in (
        (PurgeRequest.Term.AGREED, "warn", "an agreed term lets {items} go within 90 days: ask for it ahead."),
        (PurgeRequest.Term.STANDARD, "info", "{items} past 20 years; decide whether to purge."),
    ):
        asked = PurgeRequest.objects.filter(state__in=(State.REQUESTED.value, State.APPROVED.value), term=term)
        waiting = looks.filter(**{f"{term}__gt": 0}).exclude(stream__in=asked.values("customer"))
        for look in waiting.order_by("stream__name")[:SHOWN]:
            text = says.format(items=_items(getattr(look, term)))
            yield Todo(kind, "Term", f"{look.stream.name}: {text}", _past_term(look))


def _items(count: int) -> str:
    return "one item" if count == 1 else f"{count:,} items"


def _past_term(look: TermLook) -> str:
    return reverse("admin:l2l_subscriptions_customer_past_term", args=[look.pk])


def hold_todos(user: Any) -> Iterator[Todo]:
    """Legal holds that somebody must look at, of the customers that the person may see."""
    if not user.has_perm("l2l_subscriptions.view_legalhold"):
        return
    for hold in of_visible_customers(user, due_for_review(timezone.localdate(clock.now())), "customer")[:SHOWN]:
        yield Todo(
            "bad",
            "Legal hold",
            f"{hold.customer.name}: the review of the hold of {hold.holder} is due since {hold.review_on:%-d %B %Y}. "
            "Find out whether it must stay, then postpone the review or ask for its release.",
            reverse("admin:l2l_subscriptions_legalhold_change", args=[hold.pk]),
        )
