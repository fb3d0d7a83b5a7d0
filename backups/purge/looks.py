"""What of each customer is past its term, looked at once a day: for pages of many customers, and so that nothing is overdue unseen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from backups.models import TermLook
from subscriptions import past_term
from subscriptions.models import Customer
from subscriptions.past_term import HORIZONS
from subscriptions.terms import Rule

logger = logging.getLogger(__name__)

# At which of the horizons somebody should have asked for what an agreed term lets go.
AHEAD = HORIZONS.index(90)


def look_at_all(now: datetime, beat: Callable[[], None] = lambda: None) -> int:
    """Looks at every customer that was not looked at on this day of theirs; how many. One customer's trouble stops no other."""
    looked = dict(TermLook.objects.values_list("stream", "looked_at"))
    done = 0
    for customer in Customer.objects.order_by("code"):
        beat()
        at = looked.get(customer.pk)
        if at is not None and past_term.today_of(customer, at) == past_term.today_of(customer, now):
            continue
        try:
            look_at(customer, now)
        except Exception:
            logger.exception("What of %s is past its term could not be told", customer.code)
        else:
            done += 1
    return done


def look_at(customer: Customer, now: datetime) -> TermLook:
    """What is there now, kept."""
    listed, late = past_term.listed(customer, now), past_term.overdue(customer, now)
    today = past_term.today_of(customer, now)
    values = {
        "looked_at": now,
        "standard": sum(one.by[0] for one in listed if one.rule == Rule.TWENTY_YEARS),
        "agreed": sum(one.by[AHEAD] for one in listed if one.rule == Rule.AGREED_TERM),
        "standard_from": past_term.first_to_go(customer, today, Rule.TWENTY_YEARS),
        "agreed_from": past_term.first_to_go(customer, today + timedelta(days=HORIZONS[AHEAD]), Rule.AGREED_TERM),
        "overdue": late.items if late else 0,
        "overdue_since": late.since if late else None,
    }
    return TermLook.objects.update_or_create(stream_id=customer.pk, defaults=values)[0]
