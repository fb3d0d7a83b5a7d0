"""What a change of agreed terms would do to what other apps keep of a customer. They register here, for imports go one way."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from subscriptions.terms import SubscriptionTerms


@dataclass(frozen=True, slots=True)
class Effect:
    """`sentences` for a person; `sooner`: how many things would go earlier than by what is agreed now."""

    sentences: tuple[str, ...]
    sooner: int = 0


# Given the customer, the terms of all its subscriptions before and after, and when the change begins.
Foresees = Callable[[uuid.UUID, Sequence[SubscriptionTerms], Sequence[SubscriptionTerms], datetime], Effect]

_foreseen: list[Foresees] = []


def register(foresees: Foresees) -> Foresees:
    """Registering twice is once."""
    if foresees not in _foreseen:
        _foreseen.append(foresees)
    return foresees


def effects(customer: uuid.UUID, before: Sequence[SubscriptionTerms], after: Sequence[SubscriptionTerms], begins: datetime) -> list[Effect]:
    return [foresees(customer, before, after, begins) for foresees in _foreseen]
