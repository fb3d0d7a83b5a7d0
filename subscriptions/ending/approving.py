"""Another person approves that everything is destroyed, and exactly what the plan lists (P5, P11; compliance section 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from audit import two_person
from audit.events import Event, record
from audit.two_person import ApprovalRefused
from subscriptions import holds
from subscriptions.ending import clock, deadlines
from subscriptions.ending.moving import at_of, check_person, check_reason, moving
from subscriptions.ending.requests import check_over
from subscriptions.ending.states import APPROVES, Move, MoveRefused, check_move
from subscriptions.models import DeletionRequest, Receipt


def approve(request: DeletionRequest, *, by: Any, password: str, code: str, why: str, plan: Any, now: datetime) -> DeletionRequest:
    """The approved request, bound to the digest of `plan` (JSON, as `backups.destroy` makes it just now). It cools off before it begins.

    Raises `MoveRefused` (state, right, customer's code not typed, a subscription runs), `OnHold`, and `ApprovalRefused`, of which an event
    tells: the password is wrong, the right is younger than a day, or the person asked for it, waived the return or recorded the receipt.
    """
    check_move(request.state, Move.APPROVE)
    check_person(request.customer_id, by, Move.APPROVE)
    check_over(request, now)
    if code.strip() != request.customer.code:
        raise MoveRefused(f"Type the customer's short code, {request.customer.code}: what is destroyed cannot be brought back.")
    digest = two_person.digest_of(plan)
    facts = {"kind": request._meta.label_lower, "plan": digest}
    two_person.check_person(request, by, password, now, permission=APPROVES, others=took_part(request), facts=facts)
    with moving(request, Move.APPROVE, by=by, why=check_reason(why)) as row:
        holds.refuse_held(row.stream)
        stands = clock.of(row, now)
        assert stands is not None and stands.due_at is not None  # received or waived, and no hold pauses it
        row.approved_by, row.approved_at, row.approval_reason, row.plan_digest = by, now, why.strip(), digest
        row.may_begin_at = deadlines.cooled_off_at(now, stands.due_at)
        told = {"plan": digest, "begins": at_of(row.may_begin_at), "due": at_of(stands.due_at)}
        record(Event.DELETION_APPROVED, subject=row, customer=row.stream, facts=told)
    return row


def took_part(request: DeletionRequest) -> list[Any]:
    """Who asked for it, waived the return or recorded the receipt: none of them approves."""
    receipt = Receipt.objects.filter(data_return__request=request).select_related("recorded_by").last()
    found = [request.requested_by, request.waived_by, receipt.recorded_by if receipt else None]
    return [one for one in found if one is not None]


def take_back(request: DeletionRequest, *, by: Any, why: str, now: datetime) -> DeletionRequest:
    """A person who may approve stops the destruction while it cools off; the customer stays ended, and somebody approves anew."""
    if not by.has_perm(APPROVES):
        raise ApprovalRefused(two_person.NOT_ENTITLED, f"{by} may not take this approval back.")
    check_person(request.customer_id, by, Move.APPROVE)
    return void(request, why=check_reason(why), now=now)


def void(request: DeletionRequest, *, why: str, now: datetime) -> DeletionRequest:
    """The approval holds no more, for what would be destroyed is not what was approved: somebody looks, and approves anew."""
    with moving(request, Move.VOID, why=why) as row:
        facts = {"plan": row.plan_digest}
        if row.waived_at is not None:
            row.state = "waived"
        row.approved_by, row.approved_at, row.approval_reason = None, None, ""
        row.plan_digest, row.may_begin_at = "", None
        record(Event.DELETION_VOIDED, subject=row, customer=row.stream, facts=facts)
    return row
