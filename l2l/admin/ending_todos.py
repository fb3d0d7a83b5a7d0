"""What the front page tells of customers that end: receipts that wait for the approver, what is overdue, what the customers wait for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from audit import clock, grants
from audit.moments import in_zone
from l2l.admin import ending_path
from l2l.admin.ending_path import due_words
from l2l.admin.todos import Todo
from subscriptions.admin import of_visible_customers
from subscriptions.ending import approving, receipts, requests, returns
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


def under_way(user: Any) -> list[DeletionRequest]:
    """The ends that are not over, of those customers that the person may see. Read once: few customers end at a time."""
    if not user.has_perm(SEES):
        return []
    found = DeletionRequest.objects.exclude(state__in=[one.value for one in ENDED]).select_related("customer", "newest_look")
    return list(of_visible_customers(user, found, "customer").order_by("requested_at"))


def ending_todos(user: Any, found: list[DeletionRequest]) -> Iterator[Todo]:
    """For whoever may see ends of customers; `found` are those under way."""
    if not user.has_perm(SEES):
        return
    yield from _overdue(found)
    yield from _stuck(found)
    yield from _not_asked_for(user)
    if user.has_perm(RETURNS):
        yield from _returns(found)


def _overdue(found: list[DeletionRequest]) -> Iterator[Todo]:
    now = clock.now()
    stands = clocks.of_all(found, now)
    for ending in [one for one in found if one.pk in stands and stands[one.pk].overdue][:SHOWN]:
        words, _ = due_words(ending, stands[ending.pk], now)
        yield Todo("bad", "Destruction", f"{ending.customer.name}: {words}.", page_of(ending))


def _stuck(found: list[DeletionRequest]) -> Iterator[Todo]:
    """Destructions that something stands in the way of."""
    looks = [(one, getattr(one, "newest_look", None)) for one in found]
    for ending, look in [(one, look) for one, look in looks if look is not None and look.trouble][:SHOWN]:
        yield Todo("bad", "Destruction", f"{ending.customer.name}: {look.trouble}", page_of(ending))


def _not_asked_for(user: Any) -> Iterator[Todo]:
    """The control over ends: no customer whose last subscription is over is without a request."""
    without = requests.owed(clock.now())
    seen = set(Customer.objects.visible_to(user).values_list("pk", flat=True)) if without else set()
    text = "the last subscription is over, and nobody has asked for its end. Ask for it, or enter the subscription that goes on."
    for customer in [one for one in without if one.pk in seen][:SHOWN]:
        page = reverse("admin:l2l_subscriptions_customer_overview", args=[customer.pk])
        yield Todo("bad", "End", f"{customer.name}: {text}", page)


def _returns(found: list[DeletionRequest]) -> Iterator[Todo]:
    """What an account manager's customers wait for, or are waited for."""
    shown = [one for one in found if one.state in (State.REQUESTED, State.RETURNING, State.RETURNED)][:SHOWN]
    packages = returns.current_of_all([one for one in shown if one.state == State.RETURNED])
    last_days = ending_path.last_days_of(shown)
    for ending in shown:
        package = packages.get(ending.pk)
        if package is None:
            text = ending_path.turn_of(ending, clock.now(), last_days).what
            yield Todo("info", "Return", f"{ending.customer.name}: {text}", page_of(ending))
        elif package.delivered_at is None:
            text = "the package is ready and was not handed over: make a link for the customer, or download it."
            yield Todo("warn", "Return", f"{ending.customer.name}: {text}", page_of(ending))
        else:
            at = in_zone(package.delivered_at, ending.customer.zone)
            yield Todo("info", "Return", f"{ending.customer.name}: handed over {at}; its receipt is outstanding.", page_of(ending))


def page_of(ending: DeletionRequest) -> str:
    return reverse("admin:l2l_subscriptions_deletionrequest_change", args=[ending.pk])
