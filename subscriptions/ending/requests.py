"""A customer's end is asked for, by a person or by itself; the customer may waive the return; anybody entitled may stop it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.db.models import Max, Q

from audit import freezes
from audit.events import Event, record
from audit.models import Stream
from audit.moments import in_utc
from subscriptions.ending.contracts import is_over, is_past, last_day
from subscriptions.ending.moving import acts, check_reason, moving
from subscriptions.ending.states import ASKS, Move, MoveRefused, State
from subscriptions.models import Customer, DeletionRequest, Subscription

BY_ITSELF = "the last subscription is over"


def open_request(customer: Customer, *, by: Any, why: str, now: datetime) -> DeletionRequest:
    """The new request. It may be asked for ahead of the last day; nothing happens to the data before that is over. Raises `MoveRefused`."""
    if not by.has_perm(ASKS) or not Customer.objects.visible_to(by).filter(pk=customer.pk).exists():
        raise MoveRefused(f"{by} may not ask for the end of this customer: it needs the right {ASKS}, and the customer among theirs.")
    with acts(by, check_reason(why)):
        return _opened(customer, by, why.strip(), now)


def open_due(now: datetime) -> list[DeletionRequest]:
    """A request for every customer whose last subscription is over and who has none; daily and safe to repeat. Unpaid bills, quarrels and
    silence are no reason to wait (P10). One that a person cancelled opens again when the last day is another one since."""
    done = []
    for customer in _without_request(now):
        last = last_day(customer)
        if not is_over(customer, now) or DeletionRequest.objects.filter(customer=customer, ends_on=last, state=State.CANCELLED).exists():
            continue
        with suppress(MoveRefused):  # somebody asked for it since we looked
            done.append(_opened(customer, None, BY_ITSELF, now))
    return done


def owed(now: datetime) -> list[Customer]:
    """The customers whose last subscription is over without a request: none, or the control is broken. In one query."""
    return [one for one in _without_request(now) if is_past(one.last_day, one.zone, now)]


def _without_request(now: datetime) -> Any:
    """Customers without a standing request, each with its `last_day`; not those of whom the database alone knows that a subscription runs
    (anywhere on earth)."""
    runs = Subscription.objects.filter(Q(end=None) | Q(end__gt=(now + timedelta(days=1)).date()))
    without = Customer.objects.exclude(deletion_requests__in=_standing()).exclude(pk__in=runs.values("customer"))
    return without.filter(subscriptions__isnull=False).annotate(last_day=Max("subscriptions__end")).order_by("code")


def _standing() -> Any:
    return DeletionRequest.objects.exclude(state=State.CANCELLED.value)


def _opened(customer: Customer, by: Any, why: str, now: datetime) -> DeletionRequest:
    if not Subscription.objects.filter(customer=customer).exists():
        raise MoveRefused(f"{customer.code} has no subscription: there is nothing agreed that could end.")
    last = last_day(customer)
    if last is None:
        raise MoveRefused(
            f"A subscription of {customer.code} has no last day. Give it one first: a customer ends when its last subscription ends."
        )
    request = DeletionRequest(customer=customer, why=why, ends_on=last, requested_by=by, requested_at=now)
    try:
        with transaction.atomic():
            request.save()
            record(Event.DELETION_REQUESTED, subject=request, customer=customer.pk, facts={"end": last.isoformat()})
    except IntegrityError:
        raise MoveRefused(f"The end of {customer.code} is under way already: go on with that request.") from None
    return request


def waive(request: DeletionRequest, *, by: Any, document: File, why: str, now: datetime) -> DeletionRequest:
    """The customer wants no data back and says so in a document: its data is frozen, the clock begins; a second person approves.

    Raises `MoveRefused` while a subscription runs, and without the document.
    """
    check_over(request, now)
    if not document:
        raise MoveRefused("Add the document in which the customer waives the return.")
    with moving(request, Move.WAIVE, by=by, why=check_reason(why)) as row:
        freezes.freeze_free(row.stream, reason=freeze_reason(row))
        row.waiver, row.waived_by, row.waived_at = document, by, now
        row.acknowledged_at = row.frozen_at = now
        row.save()
        record(Event.RETURN_WAIVED, subject=row, customer=row.stream, facts={"document": row.waiver_sha256})
    return row


def cancel(request: DeletionRequest, *, by: Any, why: str, now: datetime) -> DeletionRequest:
    """The customer goes on, and its data is thawed: one person is enough to stop something. Raises `MoveRefused` from `destroying` on."""
    with moving(request, Move.CANCEL, by=by, why=check_reason(why)) as row:
        before = State(request.state)
        thaw_own(row)
        row.cancelled_by, row.cancelled_at, row.cancel_reason = by, now, why.strip()
        record(Event.DELETION_CANCELLED, subject=row, customer=row.stream, facts={"state": before.value})
    return row


def freeze_reason(request: DeletionRequest) -> str:
    """By which a freeze is known to be this request's."""
    return f"the customer ends: request {request.pk}"


def thaw_own(request: DeletionRequest) -> None:
    """Ends the request's own freeze, and no other."""
    stream = Stream.objects.get(pk=request.stream)
    if stream.frozen_at is not None and stream.frozen_reason == freeze_reason(request):
        freezes.thaw_same(stream)


def check_over(request: DeletionRequest, now: datetime) -> None:
    """`MoveRefused` while a subscription runs: nothing happens to a customer's data before its last day is over."""
    if is_over(request.customer, now):
        return
    last = last_day(request.customer)
    until = f"until {last}, in {request.customer.zone}" if last else "without a last day"
    raise MoveRefused(f"A subscription of {request.customer.code} runs {until}. It is {in_utc(now)}: wait, or cancel the request.")
