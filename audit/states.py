"""The states of a request that takes two people, and what may follow each (pure)."""

from __future__ import annotations

from enum import StrEnum

from audit.errors import AuditError


class State(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    EXECUTED = "executed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    VOID = "void"


NEXT: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.APPROVED, State.REFUSED, State.CANCELLED, State.VOID}),
    State.APPROVED: frozenset({State.EXECUTED, State.CANCELLED, State.VOID}),
    State.EXECUTED: frozenset(),
    State.REFUSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.VOID: frozenset(),
}


class NotAllowed(AuditError):
    """The request's state does not allow that; the message says what it is."""


def check_transition(state: str, following: State) -> None:
    """`NotAllowed` unless a request may go from the one state to the other."""
    if following not in NEXT[State(state)]:
        raise NotAllowed(f"The request is {state}: it cannot become {following.value}.")
