"""How the clock of a request stands: from its receipt, what was agreed, the customer's zone and the holds (P12)."""

from __future__ import annotations

from datetime import datetime

from subscriptions import terms
from subscriptions.ending import deadlines
from subscriptions.ending.deadlines import Clock
from subscriptions.models import DeletionRequest, LegalHold
from subscriptions.past_term import terms_of


def of(request: DeletionRequest, now: datetime) -> Clock | None:
    """None until the clock began: with the receipt, or with the waiver."""
    if request.acknowledged_at is None:
        return None
    days = terms.destruction_days(terms_of(request.customer_id)).days
    holds = LegalHold.objects.filter(customer=request.customer_id).values_list("placed_at", "released_at")
    return deadlines.clock(request.acknowledged_at, days, request.customer.zone, list(holds), now)
