"""A request goes from one state to the next: the row taken, the move looked up in the table, the person's right and customer checked.

What every verb of a customer's end has in common; each verb writes its own columns and event in the same transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction

import audit
from audit import actors
from audit.errors import NoActor
from subscriptions.ending.states import MOVES, Move, MoveRefused, check_move
from subscriptions.models import Customer, DeletionRequest


@contextmanager
def moving(request: DeletionRequest, move: Move, *, by: Any = None, why: str = "") -> Iterator[DeletionRequest]:
    """One transaction: gives the stored row, locked and already in the next state; the block adds columns and event; it is saved behind.

    `by` is the person who does it, None for the back office itself. Raises `MoveRefused`.
    """
    check_person(request.customer_id, by, move)
    with transaction.atomic(), acts(by, why):
        row = DeletionRequest._base_manager.select_for_update().get(pk=request.pk)
        row.state = check_move(row.state, move).value
        yield row
        row.save()


def check_person(customer: uuid.UUID, by: Any, move: Move) -> None:
    """`MoveRefused` unless that person may do it, and with this customer. Nobody (the back office) may do what is the clock's to do."""
    if by is None:
        return
    right = MOVES[move].right
    if not right or not by.has_perm(right):
        raise MoveRefused(f"{by} may not do that ('{move.value}'): it needs the right {right or 'that nobody has'}.")
    if not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise MoveRefused(f"{by} may not do that: it is not a customer of theirs.")


def check_reason(why: str) -> str:
    if not why.strip():
        raise MoveRefused("Say why: the reason stands in the customer's file for good.")
    return why.strip()


@contextmanager
def acts(by: Any, why: str) -> Iterator[None]:
    """This person acts, through what is acting now; without one, what is acting already goes on, and says why."""
    if by is None:
        with audit.because(why or "the end of a customer"):
            yield
        return
    try:
        source = actors.current().source
    except NoActor:
        source = ""
    with audit.acting(actors.of_user(by, reason=why, source=source)):
        yield


def at_of(now: datetime) -> str:
    """A moment as an event carries it."""
    return now.isoformat(timespec="seconds")
