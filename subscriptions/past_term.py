"""Which content of a customer is past its term, or will be soon (P9; design section 7): counted in the database, from history.

An item is an object of a protected model, live or deleted; its last change is the newest of its history's dates, and its day that of the
customer's zone. Whoever is past a term goes only by a request that two people decided on (`backups.purge`), and never under a hold.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import reduce
from operator import or_
from typing import Any
from zoneinfo import ZoneInfo

from django.db import models
from django.db.models import Count, Max, Min, Q

from audit import registry
from audit.registry import Protected
from subscriptions import holds, terms
from subscriptions.models import Customer
from subscriptions.terms import KeptUntil, Rule, Span, SubscriptionTerms

# Days ahead at which what goes is listed; 0 is what is past its term already.
HORIZONS = (0, 30, 90, 365)
# An item goes on the day after the last one on which it is kept; when that day is over, too, a promise is broken.
GRACE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Listed:
    """How many items of one model go by one rule by each day: `by` in the order of `HORIZONS`."""

    protected: Protected
    rule: Rule
    by: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One object: its key, its newest version, when that was made, what it was last called, and until when it is kept."""

    protected: Protected
    key: Any
    history_id: int
    changed_at: datetime
    reference: str
    kept: KeptUntil


@dataclass(frozen=True, slots=True)
class Overdue:
    """Items that an agreement lets stay no longer, and that are there still: a broken promise. `since` is the day the first should have
    gone."""

    items: int
    since: date


def terms_of(customer: uuid.UUID) -> list[SubscriptionTerms]:
    return [one.terms for one in Customer.objects.get(pk=customer).subscriptions.all()]


def today_of(customer: Customer, now: datetime) -> date:
    """The customer's own day."""
    return now.astimezone(ZoneInfo(customer.zone)).date()


def spans_on(customer: Customer, day: date, rules: Iterable[Rule] = (Rule.AGREED_TERM, Rule.TWENTY_YEARS)) -> list[Span]:
    """Days of a last change for which an item is past its term on that day by one of these rules."""
    return [span for span in terms.past_on(terms_of(customer.pk), day) if span.rule in set(rules)]


def objects_in(protected: Protected, customer: Customer, spans: Sequence[Span]) -> models.QuerySet[Any, Any]:
    """A row for each object last changed in one of the spans: primary key (by its attribute's name), `history_newest`, `history_changed`;
    the one changed longest ago first."""
    grouped = _objects(protected, customer)
    if not spans:
        return grouped.none()
    wanted = reduce(or_, (_within(span, customer) for span in spans))
    return grouped.filter(wanted).order_by("history_changed", str(protected.model._meta.pk.attname))


def is_within(moment: datetime, customer: Customer, spans: Iterable[Span]) -> bool:
    """Whether an object last changed then is in one of the spans."""
    day = moment.astimezone(ZoneInfo(customer.zone)).date()
    return any(span.first <= day < span.before for span in spans)


def listed(customer: Customer, now: datetime) -> list[Listed]:
    """For each model and rule how many items are past their term, and will be within each of the `HORIZONS`; one statement a model. Models
    and rules of which none will be are left out."""
    today = today_of(customer, now)
    ahead = [spans_on(customer, today + timedelta(days=days)) for days in HORIZONS]
    rules = [rule for rule in (Rule.AGREED_TERM, Rule.TWENTY_YEARS) if any(span.rule == rule for spans in ahead for span in spans)]
    found = []
    for protected in registry.of_stream(customer.pk) if rules else ():
        counts = _counted(protected, customer, rules, ahead)
        found += [Listed(protected, rule, by) for rule, by in counts.items() if any(by)]
    return found


def examples(customer: Customer, protected: Protected, spans: Sequence[Span], most: int) -> list[Item]:
    """The first that go, with what they are called."""
    pk, agreed = str(protected.model._meta.pk.attname), terms_of(customer.pk)
    rows = list(objects_in(protected, customer, spans)[:most])
    newest: dict[int, Any] = models.QuerySet(protected.history_model).in_bulk([row["history_newest"] for row in rows])
    name = pk if protected.reference == "pk" else protected.reference
    zone = ZoneInfo(customer.zone)
    return [
        Item(
            protected,
            row[pk],
            row["history_newest"],
            row["history_changed"],
            str(getattr(newest[row["history_newest"]], name)),
            terms.kept_until(agreed, last_changed=row["history_changed"].astimezone(zone).date()),
        )
        for row in rows
    ]


def overdue(customer: Customer, now: datetime) -> Overdue | None:
    """What an agreed term let go on a day that is over; None when all that was agreed was kept, and under a hold, which keeps all."""
    spans = spans_on(customer, today_of(customer, now) - GRACE, (Rule.AGREED_TERM,))
    if not spans or holds.held([customer.pk]):
        return None
    pending = [
        objects_in(one, customer, spans).aggregate(items=Count("history_changed"), first=Min("history_changed")) for one in _of(customer)
    ]
    first = min((one["first"] for one in pending if one["items"]), default=None)
    return Overdue(sum(one["items"] for one in pending), _goes_on(customer, first)) if first is not None else None


def first_to_go(customer: Customer, day: date, rule: Rule) -> date | None:
    """When the first of the items goes that go by that rule up to that day; it may be long ago. None when there is none; a statement a
    model."""
    spans = spans_on(customer, day, (rule,))
    firsts = [objects_in(one, customer, spans).aggregate(first=Min("history_changed"))["first"] for one in _of(customer)] if spans else []
    first = min((one for one in firsts if one is not None), default=None)
    return _goes_on(customer, first) if first is not None else None


def _goes_on(customer: Customer, last_changed: datetime) -> date:
    kept = terms.kept_until(terms_of(customer.pk), last_changed=last_changed.astimezone(ZoneInfo(customer.zone)).date())
    assert kept.until is not None  # no hold was asked for
    return kept.until + GRACE


def _of(customer: Customer) -> list[Protected]:
    return registry.of_stream(customer.pk)


def _objects(protected: Protected, customer: Customer) -> models.QuerySet[Any, Any]:
    history: models.QuerySet[Any, Any] = models.QuerySet(protected.history_model).filter(history_stream=customer.pk).order_by()
    grouped = history.values(str(protected.model._meta.pk.attname))
    return grouped.annotate(history_newest=Max("history_id"), history_changed=Max("history_date"))


def _within(span: Span, customer: Customer) -> Q:
    since = Q() if span.first == date.min else Q(history_changed__gte=_begins(span.first, customer))
    return since & Q(history_changed__lt=_begins(span.before, customer))


def _begins(day: date, customer: Customer) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(customer.zone))


def _counted(
    protected: Protected, customer: Customer, rules: Sequence[Rule], ahead: Sequence[Sequence[Span]]
) -> dict[Rule, tuple[int, ...]]:
    wanted = {}
    for number, rule in enumerate(rules):
        for at, spans in enumerate(ahead):
            within = [_within(span, customer) for span in spans if span.rule == rule]
            wanted[f"n{number}_{at}"] = Count("history_changed", filter=reduce(or_, within)) if within else None
    counts = _objects(protected, customer).aggregate(**{name: count for name, count in wanted.items() if count is not None})
    return {rule: tuple(counts.get(f"n{number}_{at}", 0) for at in range(len(ahead))) for number, rule in enumerate(rules)}
