"""How the clock of a request stands: from its receipt, what was agreed, the customer's zone and the holds (P12)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime

from subscriptions import terms
from subscriptions.ending import deadlines
from subscriptions.ending.deadlines import Clock, Pause
from subscriptions.models import DeletionRequest, LegalHold, Subscription
from subscriptions.past_term import terms_of


def of(request: DeletionRequest, now: datetime) -> Clock | None:
    """None until the clock began: with the receipt, or with the waiver."""
    if request.acknowledged_at is None:
        return None
    days = terms.destruction_days(terms_of(request.customer_id)).days
    holds = LegalHold.objects.filter(customer=request.customer_id).values_list("placed_at", "released_at")
    return deadlines.clock(request.acknowledged_at, days, request.customer.zone, list(holds), now)


def of_all(requests: Iterable[DeletionRequest], now: datetime) -> dict[int, Clock]:
    """The clocks of those of the requests whose clock began, by their keys: two queries for any number (each with its customer loaded)."""
    begun = [one for one in requests if one.acknowledged_at is not None]
    customers = {one.customer_id for one in begun}
    holds: dict[uuid.UUID, list[Pause]] = defaultdict(list)
    agreed: dict[uuid.UUID, list[terms.SubscriptionTerms]] = defaultdict(list)
    if customers:
        for customer, placed, released in LegalHold.objects.filter(customer__in=customers).values_list(
            "customer", "placed_at", "released_at"
        ):
            holds[customer].append((placed, released))
        for one in Subscription.objects.filter(customer__in=customers):
            agreed[one.customer_id].append(one.terms)
    return {
        one.pk: deadlines.clock(
            one.acknowledged_at,  # type: ignore[arg-type]
            terms.destruction_days(agreed[one.customer_id]).days,
            one.customer.zone,
            holds[one.customer_id],
            now,
        )
        for one in begun
    }
