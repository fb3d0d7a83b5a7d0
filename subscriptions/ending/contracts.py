"""When a customer's last subscription is over: on the day after its last day, where the customer is."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from zoneinfo import ZoneInfo

from subscriptions.models import Customer, Subscription


def last_day(customer: Customer) -> date | None:
    """The last day of the last subscription; None while one has no end, and for a customer without any."""
    ends = list(Subscription.objects.filter(customer=customer).values_list("end", flat=True))
    return None if not ends or None in ends else max(end for end in ends if end is not None)


def last_days(customers: Iterable[uuid.UUID]) -> dict[uuid.UUID, date | None]:
    """The `last_day` of each of these customers; one query."""
    found: dict[uuid.UUID, list[date | None]] = defaultdict(list)
    for customer, end in Subscription.objects.filter(customer__in=list(customers)).values_list("customer", "end"):
        found[customer].append(end)
    return {customer: None if None in ends else max(end for end in ends if end is not None) for customer, ends in found.items()}


def is_over(customer: Customer, now: datetime) -> bool:
    """Whether no subscription runs any more."""
    last = last_day(customer)
    return last is not None and is_past(last, customer.zone, now)


def is_past(last: date, zone: str, now: datetime) -> bool:
    """Whether that day is over, in that zone."""
    return now.astimezone(ZoneInfo(zone)).date() > last
