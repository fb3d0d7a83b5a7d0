"""The request while everything is destroyed: moved on by `backups.destroy`, never by a person (P12)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from audit import two_person
from audit.events import Event, record
from audit.moments import in_utc
from audit.two_person import PlanChanged
from subscriptions import holds
from subscriptions.ending.moving import moving
from subscriptions.ending.requests import check_over
from subscriptions.ending.states import Move, MoveRefused, State
from subscriptions.models import DeletionRequest


def ready(now: datetime) -> list[DeletionRequest]:
    """The approved requests that have cooled off, the first approved first."""
    found = DeletionRequest.objects.filter(state=State.APPROVED.value, may_begin_at__lte=now).select_related("customer")
    return list(found.order_by("approved_at"))


def begin(request: DeletionRequest, *, plan: Any, now: datetime) -> DeletionRequest:
    """The point of no return, in the caller's transaction, before the first deletion. `plan` is what was approved.

    Raises `MoveRefused` (state, cooling-off, a subscription runs), `OnHold` and `PlanChanged`.
    """
    check_over(request, now)
    with moving(request, Move.DESTROY, why=request.approval_reason) as row:
        holds.refuse_held(row.stream)
        if row.may_begin_at is None or now < row.may_begin_at:
            until = in_utc(row.may_begin_at) if row.may_begin_at else "somebody approves it"
            raise MoveRefused(f"It cools off until {until}.")
        if two_person.digest_of(plan) != row.plan_digest:
            raise PlanChanged
        row.begun_at = now
        record(Event.DESTRUCTION_BEGUN, subject=row, customer=row.stream, facts={"plan": row.plan_digest})
    return row


def destroyed(request: DeletionRequest, *, now: datetime) -> DeletionRequest:
    """Everything is gone, proved and certified: in the transaction that keeps the certificate."""
    with moving(request, Move.DESTROYED, why="everything is gone") as row:
        row.destroyed_at = now
        record(Event.DESTROYED, subject=row, customer=row.stream, facts={"plan": row.plan_digest})
    return row


def reopen(request: DeletionRequest, *, why: str, now: datetime, facts: Mapping[str, Any] | None = None) -> DeletionRequest:
    """Something of the customer was found after the certificate: the case is open again until that is gone too."""
    with moving(request, Move.REOPEN, why=why) as row:
        row.destroyed_at = None
        record(Event.DESTRUCTION_REOPENED, subject=row, customer=row.stream, facts=facts or {})
    return row
