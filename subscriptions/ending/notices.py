"""Who is reminded and alarmed by the clock (P11, P12; design section 9): each once, and written down.

Reminders of the receipt go to the customer's contacts; what is outstanding, near or late is an event, and a finding for the management.
How a reminder is sent is the caller's: `send` gets the addresses, the subject and the text, and raises `OSError` when it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

import audit
from audit import findings
from audit.events import Event, record
from subscriptions.ending import clock, deadlines, returns
from subscriptions.ending.states import State
from subscriptions.models import DataReturn, DeletionRequest, EndingNotice, Subscription

Kind = EndingNotice.Kind
FINDINGS = {Kind.ESCALATION: findings.Kind.RECEIPT_OUTSTANDING, Kind.OVERDUE: findings.Kind.DESTRUCTION_LATE}
# Addresses, what it is about, and the package that it is of.
Send = Callable[[list[str], DataReturn, int], None]
Facts = dict[str, Any]


def contacts_of(request: DeletionRequest) -> list[str]:
    """The addresses for contract notices of all its subscriptions."""
    found: list[str] = []
    for lines in Subscription.objects.filter(customer=request.customer_id).order_by("pk").values_list("notice_contacts", flat=True):
        found += [line.strip() for line in lines.splitlines() if _is_address(line.strip()) and line.strip() not in found]
    return found


def look(send: Send, now: datetime) -> list[EndingNotice]:
    """Tells whatever is to be told by now, once; hourly and safe to repeat. Stands inside `audit.acting(...)`."""
    done: list[EndingNotice] = []
    states = (State.RETURNED, State.ACKNOWLEDGED, State.WAIVED, State.APPROVED, State.DESTROYING)
    for request in DeletionRequest.objects.filter(state__in=[one.value for one in states]).select_related("customer").order_by("pk"):
        done += _of_receipt(request, send, now) if request.state == State.RETURNED else _of_clock(request, now)
    return done


def _of_receipt(request: DeletionRequest, send: Send, now: datetime) -> Iterator[EndingNotice]:
    package = returns.current(request)
    if package is None:
        return
    since = package.delivered_at or package.made_at
    told = _told(request, package)
    days = deadlines.reminders(since, now)
    if days and (Kind.REMINDER, days[-1]) not in told:  # those that were slept through come as one
        yield _reminded(request, package, days[-1], send, now)
    if deadlines.is_escalated(since, now) and (Kind.ESCALATION, deadlines.ESCALATION_DAYS) not in told:
        facts = {"number": package.number, "day": deadlines.ESCALATION_DAYS}
        what = (
            f"The receipt of {request.customer.code} is outstanding for {deadlines.ESCALATION_DAYS} days. Reach the customer another way; "
            "where the agreement lets silence count, two approvers may decide on a deemed receipt."
        )
        yield _noted(request, package, Kind.ESCALATION, deadlines.ESCALATION_DAYS, Event.RETURN_OUTSTANDING, facts, what, now)


def _reminded(request: DeletionRequest, package: DataReturn, day: int, send: Send, now: datetime) -> EndingNotice:
    """Written down before it is sent, so that a killed process does not write twice; what kept it from being sent stands beside it."""
    addresses = contacts_of(request)
    trouble = "" if addresses else "No contact for notices stands in the subscriptions: add an e-mail address there, and remind by hand."
    notice = EndingNotice(
        request=request, data_return=package, kind=Kind.REMINDER, day=day, sent_to="\n".join(addresses), noted_at=now, trouble=trouble
    )
    with transaction.atomic(), audit.because("a reminder of the receipt"):
        notice.save()
        facts = {"number": package.number, "day": day, "addresses": len(addresses)}
        record(Event.RETURN_REMINDED, subject=notice, customer=request.stream, facts=facts)
    if addresses:
        try:
            send(addresses, package, day)
        except OSError as problem:
            with audit.because("a reminder could not be sent"):
                notice.trouble = f"It could not be sent: {problem}"[:500]
                notice.save()
    return notice


def _of_clock(request: DeletionRequest, now: datetime) -> Iterator[EndingNotice]:
    stands = clock.of(request, now)
    if stands is None or stands.due_at is None:
        return
    told = _told(request, None)
    days = deadlines.alarms(stands.due_at, now)
    facts: Facts = {"due": stands.due_at.isoformat(timespec="seconds")}
    if days and not stands.overdue and (Kind.ALARM, days[-1]) not in told:
        what = f"{request.customer.code} must be destroyed within {days[-1]} days"
        yield _noted(request, None, Kind.ALARM, days[-1], Event.DESTRUCTION_NEARS, {"day": days[-1], **facts}, what, now)
    if stands.overdue and (Kind.OVERDUE, 0) not in told:
        what = f"{request.customer.code} should be destroyed since {facts['due']}: its page says what it waits for."
        yield _noted(request, None, Kind.OVERDUE, 0, Event.DESTRUCTION_LATE, facts, what, now)


def _noted(
    request: DeletionRequest,
    package: DataReturn | None,
    kind: Kind,
    day: int,
    event: Event,
    facts: dict[str, Any],
    what: str,
    now: datetime,
) -> EndingNotice:
    notice = EndingNotice(request=request, data_return=package, kind=kind, day=day, noted_at=now)
    with transaction.atomic(), audit.because(what):
        notice.save()
        if kind in FINDINGS:
            findings.open_finding(FINDINGS[kind], subject=request, customer=request.stream, text=what, now=now)
        record(event, subject=notice, customer=request.stream, facts=facts)
    return notice


def _told(request: DeletionRequest, package: DataReturn | None) -> set[tuple[str, int]]:
    found = EndingNotice.objects.filter(request=request, data_return=package) if package else EndingNotice.objects.filter(request=request)
    return set(found.values_list("kind", "day"))


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
