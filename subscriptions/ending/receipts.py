"""The customer has its data (P11): it says so on its page, staff record what it told them, or silence counts where that was agreed.

A receipt names who at the customer verified the package, how and when, and its digest: a receipt of another package is refused.
"""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Any

from django.core.files.base import File
from django.db import transaction

from audit import two_person
from audit.events import Event, record
from audit.states import State as Asked
from subscriptions.ending import deadlines, returns
from subscriptions.ending.moving import check_person, check_reason, moving
from subscriptions.ending.states import Move, MoveRefused, State
from subscriptions.models import DataReturn, DeemedReceiptRequest, DeletionRequest, Receipt, Subscription


def acknowledge(
    data_return: DataReturn, *, package_sha256: str, verified_by: str, how: str, verified_at: datetime, by: Any = None, now: datetime
) -> Receipt:
    """The receipt; from now on the clock runs. `by` is the member of staff who records it, None when the customer does on its page.

    Raises `MoveRefused`: for a digest that is not this package's, a day in the future or before the package was made, nobody's name.
    """
    if not verified_by.strip() or not how.strip():
        raise MoveRefused("Say who at the customer verified the package, and how.")
    if not data_return.made_at <= verified_at <= now:
        raise MoveRefused("It was verified after the package was made, and not in the future: look at the time.")
    if not is_digest_of(data_return, package_sha256):
        raise MoveRefused(
            "That is not the digest of this package. The customer has another file, or a damaged one: compare the file's "
            "SHA-256 with the one on this page, and report a fault if they differ."
        )
    kind = Receipt.Kind.STAFF if by is not None else Receipt.Kind.CUSTOMER
    about: dict[str, Any] = {"verified_by": verified_by.strip()[:200], "how": how.strip(), "verified_at": verified_at}
    return _received(data_return, kind, by=by, why="the customer has its data", now=now, **about)


def is_digest_of(data_return: DataReturn, text: str) -> bool:
    """Whether that is this package's SHA-256, in small letters or capitals (PowerShell's)."""
    return hmac.compare_digest(text.strip().lower().encode(), data_return.package_sha256.encode())


def of_minute(given: datetime, data_return: DataReturn) -> datetime:
    """What a form's picker means, which knows no seconds: of the minute in which the package was made, its making and not before."""
    made = data_return.made_at
    return made if given == made.replace(second=0, microsecond=0) else given


def ask_deemed(data_return: DataReturn, *, by: Any, notice: File, why: str, now: datetime) -> DeemedReceiptRequest:
    """The first of two approvers lets silence count, with proof that notice was given. Raises `MoveRefused` where the agreement does not
    allow it, or not yet, and `ApprovalRefused`."""
    _check_deemed(data_return, now)
    check_person(data_return.request.customer_id, by, Move.APPROVE)
    if not notice:
        raise MoveRefused("Add the proof that the customer was given notice.")
    what = f"silence of {data_return.request.customer.code} counts as receipt"
    with transaction.atomic():
        if data_return.deemed_requests.filter(state__in=(Asked.REQUESTED.value, Asked.APPROVED.value)).exists():
            raise MoveRefused("It is asked for already: another approver decides on that, or it is cancelled.")
        plan, about = plan_of_deemed(data_return), {"data_return": data_return, "notice": notice}
        return two_person.request(DeemedReceiptRequest, by=by, what=what, why=why, plan=plan, now=now, **about)


def approve_deemed(asked: DeemedReceiptRequest, *, by: Any, password: str, now: datetime) -> Receipt:
    """The receipt, by the second approver. Raises `MoveRefused` and what `two_person.approve` raises."""
    _check_deemed(asked.data_return, now)
    check_person(asked.data_return.request.customer_id, by, Move.APPROVE)
    plan = plan_of_deemed(asked.data_return)
    approved = two_person.approve(asked, by=by, password=password, plan=plan, now=now)
    return finish_deemed(approved, now=now)


def finish_deemed(approved: DeemedReceiptRequest, *, now: datetime) -> Receipt:
    """As an approved request asks; once, also when a process was killed between the two."""
    with transaction.atomic():
        done = two_person.executed(approved, plan=plan_of_deemed(approved.data_return), now=now)
        notice = {"notice": done.notice_sha256}
        return _received(done.data_return, Receipt.Kind.DEEMED, by=None, recorded_by=done.requested_by, why=done.why, now=now, facts=notice)


def plan_of_deemed(data_return: DataReturn) -> dict[str, Any]:
    """What is approved: of which package."""
    return {"return": data_return.pk, "package": data_return.package_sha256, "customer": str(data_return.request.customer_id)}


def is_deemed_allowed(request: DeletionRequest) -> bool:
    """Whether every subscription that ends last lets silence count: of several the strictest."""
    found = list(Subscription.objects.filter(customer=request.customer_id).values_list("end", "deemed_receipt_allowed"))
    last = max((end for end, _ in found if end is not None), default=None)
    return bool(found) and all(allowed for end, allowed in found if end == last)


def _check_deemed(data_return: DataReturn, now: datetime) -> None:
    if not is_deemed_allowed(data_return.request):
        raise MoveRefused("The agreement does not let silence count as receipt: remind the customer, and record its receipt.")
    if data_return.delivered_at is None:
        raise MoveRefused("The package was never handed over: silence cannot be its receipt. Hand it over first.")
    if not deadlines.is_escalated(data_return.delivered_at, now):
        day = data_return.delivered_at + deadlines.ESCALATION_DAYS * deadlines.DAY
        raise MoveRefused(f"Silence counts from {day:%Y-%m-%d %H:%M} UTC on, {deadlines.ESCALATION_DAYS} days after the hand-over.")


def _received(
    data_return: DataReturn,
    kind: Receipt.Kind,
    *,
    by: Any,
    why: str,
    now: datetime,
    recorded_by: Any = None,
    facts: dict[str, str] | None = None,
    **about: Any,
) -> Receipt:
    with moving(data_return.request, Move.ACKNOWLEDGE, by=by, why=check_reason(why)) as row:
        stored = returns.taken(data_return)
        returns.check_current(stored)
        receipt = Receipt(
            data_return=stored,
            kind=kind,
            package_sha256=stored.package_sha256,
            recorded_by=by or recorded_by,
            recorded_at=now,
            **about,
        )
        receipt.full_clean()
        receipt.save()
        row.acknowledged_at = now
        told = {"number": stored.number, "kind": kind.value, "sha256": stored.package_sha256, **(facts or {})}
        record(Event.RECEIPT_RECORDED, subject=receipt, customer=row.stream, facts=told)
    return receipt


def waiting(customers: Any) -> Any:
    """The requests of these customers that wait for an approver: their receipt is there, or the return was waived."""
    states = (State.ACKNOWLEDGED.value, State.WAIVED.value)
    return DeletionRequest.objects.filter(customer__in=customers, state__in=states).select_related("customer").order_by("acknowledged_at")
