"""What an account manager has to do, for their own customers: what ends, what is outstanding, what failed, what waits. A constant number of
queries, however many customers they are. Whoever sees every customer may look at another one's work, and hand it on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db import models
from django.db.models import Count, Exists, OuterRef, Prefetch, Q, Subquery
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.timezone import localdate

from audit import clock
from audit.roles import EVERY_CUSTOMER, HANDS_CUSTOMERS_OVER
from audit.states import State
from backups.models import LiveRestoreRequest, PurgeRequest, Run, TermLook
from l2l.admin.handing_over import NOBODYS, hand_over_url
from subscriptions import handing_over, holds
from subscriptions.admin import change_terms_url, renew_url
from subscriptions.ending import deadlines
from subscriptions.ending.states import ASKS, PAST_RETURN
from subscriptions.ending.states import State as Ending
from subscriptions.models import (
    Customer,
    DataReturn,
    DeemedReceiptRequest,
    DeletionRequest,
    EndingNotice,
    HoldReleaseRequest,
    Subscription,
    TermChangeRequest,
)

ENDS_SOON = timedelta(days=90)
REVIEWED_SOON = timedelta(days=30)
NIGHTS = timedelta(days=14)
SHOWN = 25
RED_STATES = (Run.State.FAILED, Run.State.MISSED, Run.State.STOPPED)
# Kinds of requests, and where their customer stands.
REQUESTS: tuple[tuple[Any, str], ...] = (
    (TermChangeRequest, "subscription__customer"),
    (HoldReleaseRequest, "hold__customer"),
    (PurgeRequest, "customer"),
    (LiveRestoreRequest, "customer"),
    (DeemedReceiptRequest, "data_return__request__customer"),
)
WAITING = (State.REQUESTED.value, State.APPROVED.value)


@dataclass(frozen=True, slots=True)
class Some:
    """The first rows of a list, and whether there are more."""

    rows: list[Any] = field(default_factory=list)
    more: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def count(self) -> str:
        return f"{len(self.rows)}{'+' if self.more else ''}"


@dataclass(frozen=True, slots=True)
class EndsSoon:
    """A subscription that nothing follows. `days` until its last day, negative when that is over; `ending` once the end is under way."""

    subscription: Any
    days: int
    ending: int | None
    renew_url: str
    terms_url: str
    ask_url: str


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A package without a receipt: `since` it was handed over, or made where nobody fetched it; `next` is what the back office does."""

    ending: DeletionRequest
    package: DataReturn | None
    since: datetime | None
    days: int
    reminders: int
    trouble: str
    next: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request that somebody else has to decide on, or that waits for its day."""

    label: str
    what: str
    at: datetime
    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose work is looked at: `manager` is None for that of customers whom nobody looks after."""

    manager: Any
    customers: models.QuerySet[Customer, Customer]
    own: bool
    key: str


def page(request: HttpRequest) -> HttpResponse:
    """One's own, or with `?manager=ID` (`none`: nobody's) another one's, for whoever sees every customer."""
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    if not request.user.has_perm(HANDS_CUSTOMERS_OVER):
        raise PermissionDenied
    whose, now = _whose(request), clock.now()
    title = "My work" if whose.own else f"Work of {whose.manager}" if whose.manager else "Customers that nobody looks after"
    context = {**admin.site.each_context(request), "title": title, "whose": whose, **work_of(whose, request.user, now)}
    return render(request, "back_office/my_work.html", context)


def _whose(request: HttpRequest) -> Whose:
    asked, user = request.GET.get("manager", ""), request.user
    if asked in ("", str(user.pk)):
        return Whose(user, Customer.objects.filter(account_manager=user.pk), True, str(user.pk))
    if not user.has_perm(EVERY_CUSTOMER):
        raise PermissionDenied
    if asked == NOBODYS:
        return Whose(None, handing_over.unmanaged(), False, NOBODYS)
    manager = (
        get_user_model()._default_manager.filter(pk=int(asked)).first() if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
    )
    if manager is None:
        raise Http404("There is no such person.")
    return Whose(manager, Customer.objects.filter(account_manager=manager.pk), False, asked)


def work_of(whose: Whose, user: Any, now: datetime) -> dict[str, Any]:
    """Each list with what the person at the page may see and do."""
    today, mine = localdate(now), whose.customers
    all_of_them = user.has_perm(EVERY_CUSTOMER)
    return {
        "customers": mine.count(),
        "ending": _ends_soon(mine, user, today),
        "outstanding": _outstanding(mine, user, now),
        "terms": _near_their_term(mine, user),
        "nights": _red_nights(mine, user, today),
        "holds": _to_review(mine, user, today),
        "waiting": _waiting(whose, user),
        "today": today,
        "hand_over_url": hand_over_url(manager=whose.key),
        "managers": list(_managers()) if all_of_them else [],
        "nobodys": handing_over.unmanaged().count() if all_of_them else 0,
    }


def _some(rows: Any) -> Some:
    found = list(rows[: SHOWN + 1])
    return Some(found[:SHOWN], len(found) > SHOWN)


# What ends


def _ends_soon(mine: Any, user: Any, today: date) -> Some:
    later = Subscription.objects.filter(customer=OuterRef("customer")).exclude(pk=OuterRef("pk"))
    goes_on = later.filter(Q(end=None) | Q(end__gt=OuterRef("end")))
    ended = DeletionRequest.objects.filter(customer=OuterRef("customer"), state__in=[one.value for one in PAST_RETURN])
    under_way = DeletionRequest.objects.filter(customer=OuterRef("customer")).exclude(state=Ending.CANCELLED.value)
    found = Subscription.objects.filter(~Exists(goes_on), ~Exists(ended), customer__in=mine.values("pk"), end__lte=today + ENDS_SOON)
    some = _some(found.select_related("customer").annotate(ending=Subquery(under_way.values("pk")[:1])).order_by("end", "pk"))
    return Some([_ends(one, user, today) for one in some.rows], some.more)


def _ends(subscription: Any, user: Any, today: date) -> EndsSoon:
    asks = user.has_perm(ASKS) and subscription.ending is None
    ask_url = f"{reverse('admin:l2l_subscriptions_deletionrequest_add')}?customer={subscription.customer_id}" if asks else ""
    days = (subscription.end - today).days
    return EndsSoon(subscription, days, subscription.ending, renew_url(subscription, user), change_terms_url(subscription, user), ask_url)


# What was returned and not acknowledged


def _outstanding(mine: Any, user: Any, now: datetime) -> Some:
    if not user.has_perm("l2l_subscriptions.view_deletionrequest"):
        return Some()
    states = [Ending.RETURNING.value, Ending.RETURNED.value]
    good = Prefetch("returns", DataReturn.objects.filter(fault_at=None), to_attr="good_returns")
    told = Prefetch("notices", EndingNotice.objects.filter(kind=EndingNotice.Kind.REMINDER).order_by("day"), to_attr="reminders")
    found = DeletionRequest.objects.filter(customer__in=mine.values("pk"), state__in=states).select_related("customer")
    some = _some(found.prefetch_related(good, told).order_by("requested_at", "pk"))
    return Some([_outstanding_one(one, now) for one in some.rows], some.more)


def _outstanding_one(ending: Any, now: datetime) -> Outstanding:
    package = next(iter(ending.good_returns), None)
    if package is None:
        return Outstanding(ending, None, None, 0, 0, "", "the worker makes the package")
    since = package.delivered_at or package.made_at
    reminders = [one for one in ending.reminders if one.data_return_id == package.pk]
    trouble = next((one.trouble for one in reversed(reminders) if one.trouble), "")
    return Outstanding(ending, package, since, (now - since).days, len(reminders), trouble, next_step(since, now))


def next_step(since: datetime, now: datetime) -> str:
    """What the back office does next by itself about a receipt that is outstanding."""
    coming = next((day for day in deadlines.REMINDER_DAYS if now < since + day * deadlines.DAY), None)
    if coming is not None:
        return f"a reminder on {since + coming * deadlines.DAY:%-d %B}"
    if not deadlines.is_escalated(since, now):
        return f"the management is told on {since + deadlines.ESCALATION_DAYS * deadlines.DAY:%-d %B}"
    return "the management was told: reach the customer another way"


# The rest


def _near_their_term(mine: Any, user: Any) -> Some:
    if not user.has_perm(PurgeRequest.permission("view")):
        return Some()
    some_items = Q(overdue__gt=0) | Q(agreed__gt=0) | Q(standard__gt=0)
    looks = TermLook.objects.filter(some_items, stream__in=mine.values("pk")).select_related("stream")
    return _some(
        looks.order_by(models.F("overdue_since").asc(nulls_last=True), models.F("agreed_from").asc(nulls_last=True), "stream__name")
    )


def _red_nights(mine: Any, user: Any, today: date) -> Some:
    if not user.has_perm("l2l_backups.view_run"):
        return Some()
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, state__in=RED_STATES, stream__in=mine.values("pk"), night__gte=today - NIGHTS)
    return _some(runs.select_related("stream").order_by("-night", "stream__name"))


def _to_review(mine: Any, user: Any, today: date) -> Some:
    if not user.has_perm("l2l_subscriptions.view_legalhold"):
        return Some()
    return _some(holds.due_for_review(today + REVIEWED_SOON).filter(customer__in=mine.values("pk")))


def _waiting(whose: Whose, user: Any) -> list[Waiting]:
    """The requests that this account manager made, and the ends of their customers that wait for an approver; the oldest first."""
    found = [one for kind, path in REQUESTS for one in _requests_of(kind, path, whose, user)]
    return sorted([*found, *_ends_to_approve(whose.customers, user)], key=lambda one: one.at)


def _requests_of(kind: Any, path: str, whose: Whose, user: Any) -> Iterator[Waiting]:
    if whose.manager is None or not user.has_perm(kind.permission("view")):
        return
    asked = kind.objects.filter(
        requested_by=whose.manager, state__in=WAITING, **{f"{path}__in": Customer.objects.visible_to(user).values("pk")}
    )
    for one in asked.order_by("requested_at")[:SHOWN]:
        words = "waits for another person's approval" if one.state == State.REQUESTED else "approved: it takes effect on its day"
        url = reverse(f"admin:{kind._meta.app_label}_{kind._meta.model_name}_change", args=[one.pk])
        yield Waiting(capfirst(kind._meta.verbose_name), one.what, one.requested_at, words, url)


def _ends_to_approve(mine: Any, user: Any) -> Iterator[Waiting]:
    if not user.has_perm("l2l_subscriptions.view_deletionrequest"):
        return
    states = [Ending.ACKNOWLEDGED.value, Ending.WAIVED.value]
    found = DeletionRequest.objects.filter(customer__in=mine.values("pk"), state__in=states).select_related("customer")
    for one in found.order_by("acknowledged_at")[:SHOWN]:
        url = reverse("admin:l2l_subscriptions_deletionrequest_change", args=[one.pk])
        words = "waits for the approval of somebody who took no part"
        yield Waiting("End of a customer", one.customer.name, one.acknowledged_at or one.requested_at, words, url)


def _managers() -> Iterator[tuple[Any, int, str]]:
    """Each account manager with how many customers, and where to hand all of them over."""
    counts = dict(Customer.objects.exclude(account_manager=None).order_by().values_list("account_manager").annotate(Count("pk")))
    for one in handing_over.account_managers():
        yield one, counts.get(one.pk, 0), hand_over_url(manager=one.pk) if counts.get(one.pk) else ""
