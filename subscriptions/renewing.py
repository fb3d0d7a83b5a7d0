"""A subscription goes on (P9, P10): the next one begins on the day after its last day, on the terms that were agreed, so that nothing goes
sooner by it; other terms are changed afterwards, by `term_requests`.

When the customer's end is under way, renewing cancels it, as long as nothing was destroyed (compliance section 5, row 13). After the point
of no return there is nothing to go on with: the customer is taken on anew, with the package that it was given back. Stands inside
`audit.acting(...)`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

import audit
from audit.errors import AuditError
from audit.events import Event, record
from subscriptions.ending import requests
from subscriptions.ending.states import PAST_RETURN, State
from subscriptions.models import Customer, DeletionRequest, Subscription
from subscriptions.past_term import today_of
from subscriptions.term_requests import CHANGES_TERMS, value_in_words

# What the next contract takes over.
TAKEN_OVER = (
    "plan",
    "agreed_retention_years",
    "agreed_destruction_days",
    "return_format",
    "return_days",
    "deemed_receipt_allowed",
    "notice_contacts",
)
_NUMBERED = re.compile(r"(.*-)(\d{1,6})")


class RenewingRefused(AuditError):
    """The subscription cannot be renewed so; nothing was stored, and the message says what to do."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """The next subscription, and the end of the customer that was cancelled by it."""

    subscription: Subscription
    cancelled: DeletionRequest | None


def renew(subscription: Subscription, *, by: Any, why: str, now: datetime, agreement_number: str = "", end: date | None = None) -> Renewed:
    """The next subscription, without a gap; `end` is its last day, None while none is agreed. Raises `RenewingRefused`, `ValidationError`
    for values that do not fit, and `MoveRefused` where this person may not cancel the end that is under way."""
    _check_person(subscription, by, why)
    with transaction.atomic(), audit.because(why.strip()):
        customer = Customer.objects.select_for_update(no_key=True).get(pk=subscription.customer_id)
        stored = Subscription.objects.get(pk=subscription.pk)
        if refusal := why_not(stored, customer):
            raise RenewingRefused(refusal)
        following = _following(stored, customer, agreement_number, end, now)
        following.save()
        _record(stored, following)
        cancelled = _cancelled(customer, following, by, why, now)
    return Renewed(following, cancelled)


def why_not(subscription: Subscription, customer: Customer) -> str:
    """Why it cannot be renewed now, and what to do; empty when it can."""
    if subscription.end is None:
        return f"{subscription.agreement_number} runs without a last day: there is nothing to renew. Change its terms instead."
    later = Subscription.objects.filter(customer=customer).exclude(pk=subscription.pk)
    for other in later:
        if other.end is None or other.end > subscription.end:
            return f"{other.agreement_number} goes on after {subscription.agreement_number}: renew that one."
    ending = ending_of(customer)
    if ending is not None and ending.state in PAST_RETURN:
        return (
            f"{customer.code} is {ending.state}: what was begun there cannot be undone. Take the customer on anew, under another short "
            "code (manage.py add_customer), and import the package that it was given back (manage.py import_content)."
        )
    return ""


def ending_of(customer: Customer) -> DeletionRequest | None:
    """The customer's end, under way or over; not one that was cancelled."""
    return DeletionRequest.objects.filter(customer=customer).exclude(state=State.CANCELLED.value).first()


def next_number(agreement_number: str) -> str:
    """`acme-1` is followed by `acme-2`, any other number by itself with `-2`."""
    numbered = _NUMBERED.fullmatch(agreement_number)
    return f"{numbered[1]}{int(numbered[2]) + 1}" if numbered else f"{agreement_number}-2"


def _check_person(subscription: Subscription, by: Any, why: str) -> None:
    if not by.has_perm(CHANGES_TERMS):
        raise RenewingRefused(f"{by} may not renew subscriptions: it needs the right {CHANGES_TERMS}.")
    if not Customer.objects.visible_to(by).filter(pk=subscription.customer_id).exists():
        raise RenewingRefused(f"{by} may not renew this: it is not a customer of theirs.")
    if not why.strip():
        raise RenewingRefused("Say why: which document says that it goes on.")


def _following(stored: Subscription, customer: Customer, number: str, end: date | None, now: datetime) -> Subscription:
    assert stored.end is not None  # else `why_not` said so
    if end is not None and end < today_of(customer, now):
        raise RenewingRefused(f"{end} is over already: a subscription that goes on ends later, or on no agreed day.")
    following = Subscription(customer=customer, start=stored.end + timedelta(days=1), end=end)
    following.agreement_number = number.strip() or next_number(stored.agreement_number)
    for name in TAKEN_OVER:
        setattr(following, name, getattr(stored, name))
    following.full_clean(exclude=("document",))
    return following


def _record(stored: Subscription, following: Subscription) -> None:
    facts = {
        "before": stored.pk,
        "start": following.start.isoformat(),
        "end": value_in_words("end", following.end and following.end.isoformat()),
        "years": following.agreed_retention_years,
        "days": following.agreed_destruction_days,
    }
    record(Event.RENEWED, subject=following, customer=following.customer_id, facts=facts)


def _cancelled(customer: Customer, following: Subscription, by: Any, why: str, now: datetime) -> DeletionRequest | None:
    ending = ending_of(customer)
    if ending is None:
        return None
    return requests.cancel(ending, by=by, why=f"renewed by {following.agreement_number}: {why.strip()}", now=now)
