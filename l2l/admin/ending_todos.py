"""What the front page tells of customers that end: receipts that wait for the approver, what is overdue, what the customers wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from audit import clock, grants
from audit.moments import in_zone
from backups.models import DestructionTry
from l2l.admin import ending_path
from l2l.admin.ending_path import due_words
from l2l.admin.endings import overdue
from l2l.admin.todos import Todo
from subscriptions.admin import of_visible_customers
from subscriptions.ending import approving, receipts, requests
from subscriptions.ending import clock as clocks
from subscriptions.ending.states import APPROVES, ENDED, RETURNS, State
from subscriptions.models import Customer, DeletionRequest

SEES = "l2l_subscriptions.view_deletionrequest"
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Waiting:
    """A receipt that waits for an approver; `why_not`: why this one cannot approve it."""

    ending: DeletionRequest
    due: str
    kind: str
    why_not: str
    link: str


def receipts_waiting(user: Any) -> list[Waiting] | None:
    """For an approver, the one that is due first first; None for everybody else."""
    if not user.has_perm(APPROVES):
        return None
    now = clock.now()
    found = list(receipts.waiting(Customer.objects.visible_to(user)).select_related("requested_by", "waived_by"))
    stands, young = clocks.of_all(found, now), grants.why_not(user, APPROVES, now)
    took_part = "you took part: another person approves"
    return [
        Waiting(one, *due_words(one, stands[one.pk], now), took_part if user in approving.took_part(one) else young, page_of(one))
        for one in sorted(found, key=lambda one: (stands[one.pk].due_at is None, stands[one.pk].due_at))
    ]


def ending_todos(user: Any) -> Iterator[Todo]:
    """For whoever may see ends of customers, of those customers that they may see."""
    if not user.has_perm(SEES):
        return
    visible = of_visible_customers(user, DeletionRequest.objects.all(), "customer").select_related("customer")
    yield from _alarms(user, visible)
    if user.has_perm(RETURNS):
        yield from _for_account_managers(visible)


def _alarms(user: Any, visible: Any) -> Iterator[Todo]:
    """What is not as promised: for everybody."""
    for ending, _ in overdue(visible)[:SHOWN]:
        words, _ = due_words(ending, clocks.of(ending, clock.now()), clock.now())
        yield Todo("bad", "Destruction", f"{ending.customer.name}: {words}.", page_of(ending))
    stuck = DestructionTry.objects.filter(request__in=visible.exclude(state__in=[one.value for one in ENDED])).exclude(trouble="")
    for one in stuck.select_related("request__customer")[:SHOWN]:
        yield Todo("bad", "Destruction", f"{one.request.customer.name}: {one.trouble}", page_of(one.request))
    seen = set(Customer.objects.visible_to(user).values_list("pk", flat=True)) if (without := requests.owed(clock.now())) else set()
    for customer in [one for one in without if one.pk in seen][:SHOWN]:
        text = "the last subscription is over, and nobody has asked for its end. Ask for it, or enter the subscription that goes on."
        yield Todo("bad", "End", f"{customer.name}: {text}", reverse("admin:l2l_subscriptions_customer_overview", args=[customer.pk]))


def _for_account_managers(visible: Any) -> Iterator[Todo]:
    """What their customers wait for, or are waited for."""
    states = (State.REQUESTED.value, State.RETURNING.value, State.RETURNED.value)
    for ending in visible.filter(state__in=states).order_by("requested_at")[:SHOWN]:
        turn = ending_path.turn_of(ending, clock.now())
        package = ending_path.package_of(ending) if ending.state == State.RETURNED else None
        if package is not None and package.delivered_at is None:
            text = "the package is ready and was not handed over: make a link for the customer, or download it."
            yield Todo("warn", "Return", f"{ending.customer.name}: {text}", page_of(ending))
        elif package is not None and package.delivered_at is not None:
            at = in_zone(package.delivered_at, ending.customer.zone)
            yield Todo("info", "Return", f"{ending.customer.name}: handed over {at}; its receipt is outstanding.", page_of(ending))
        else:
            yield Todo("info", "Return", f"{ending.customer.name}: {turn.what}", page_of(ending))


def page_of(ending: DeletionRequest) -> str:
    return reverse("admin:l2l_subscriptions_deletionrequest_change", args=[ending.pk])
