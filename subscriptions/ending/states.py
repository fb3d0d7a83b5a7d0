"""The states of a customer's end and every move between them (P10 to P12; design section 9). Pure.

    requested -> returning -> returned -> acknowledged -> approved -> destroying -> destroyed
    requested -> waived -> approved              the customer chose deletion
    returned -> returning                        the customer reports a fault
    approved -> acknowledged, waived             the plan no longer holds, or a person takes the approval back: approve anew
    destroyed -> destroying                      a find reopens the case
    cancelled                                    from any state before destroying

One table, for the admin, the commands and the tasks alike: what is not in it is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from audit.errors import AuditError


class State(StrEnum):
    REQUESTED = "requested"
    RETURNING = "returning"
    RETURNED = "returned"
    ACKNOWLEDGED = "acknowledged"
    WAIVED = "waived"
    APPROVED = "approved"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"
    CANCELLED = "cancelled"


ENDED = frozenset({State.DESTROYED, State.CANCELLED})
PAST_RETURN = frozenset({State.DESTROYING, State.DESTROYED})
FROZEN = frozenset(State) - {State.REQUESTED, State.CANCELLED}
# Nothing of it is mended, pruned or test restored from here on: what was returned is what is destroyed.
LEFT_ALONE = FROZEN - {State.RETURNING}


class Move(StrEnum):
    """What a person or the clock does; the value is the word of the command and the button."""

    RETURN = "return"
    RETURNED = "returned"
    FAULT = "fault"
    ACKNOWLEDGE = "acknowledge"
    WAIVE = "waive"
    APPROVE = "approve"
    VOID = "void"
    DESTROY = "destroy"
    DESTROYED = "destroyed"
    REOPEN = "reopen"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Step:
    """From which states a move leads where, and the right that a person needs for it; no right: the back office does it by itself."""

    before: frozenset[State]
    after: State
    right: str = ""


APP = "l2l_subscriptions."
ASKS, RETURNS, WAIVES, APPROVES = (f"{APP}{verb}_deletionrequest" for verb in ("add", "return", "waive", "approve"))
MOVES: dict[Move, Step] = {
    Move.RETURN: Step(frozenset({State.REQUESTED}), State.RETURNING, RETURNS),
    Move.RETURNED: Step(frozenset({State.RETURNING}), State.RETURNED),
    Move.FAULT: Step(frozenset({State.RETURNED}), State.RETURNING, RETURNS),
    Move.ACKNOWLEDGE: Step(frozenset({State.RETURNED}), State.ACKNOWLEDGED, RETURNS),
    Move.WAIVE: Step(frozenset({State.REQUESTED}), State.WAIVED, WAIVES),
    Move.APPROVE: Step(frozenset({State.ACKNOWLEDGED, State.WAIVED}), State.APPROVED, APPROVES),
    # Back to where it was approved: `after` is the state with a receipt; without one it is WAIVED.
    Move.VOID: Step(frozenset({State.APPROVED}), State.ACKNOWLEDGED),
    Move.DESTROY: Step(frozenset({State.APPROVED}), State.DESTROYING),
    Move.DESTROYED: Step(frozenset({State.DESTROYING}), State.DESTROYED),
    Move.REOPEN: Step(frozenset({State.DESTROYED}), State.DESTROYING),
    Move.CANCEL: Step(FROZEN - PAST_RETURN | {State.REQUESTED}, State.CANCELLED, ASKS),
}

WORDS: dict[State, str] = {
    State.REQUESTED: "asked for: its data is about to be returned",
    State.RETURNING: "its data is frozen, and the package is being made",
    State.RETURNED: "the package is ready: the customer verifies it",
    State.ACKNOWLEDGED: "the customer has its data: somebody else approves the destruction",
    State.WAIVED: "the customer wants no data back: somebody else approves the destruction",
    State.APPROVED: "approved: it cools off, and can still be stopped",
    State.DESTROYING: "everything is being destroyed",
    State.DESTROYED: "destroyed, and certified",
    State.CANCELLED: "cancelled: the customer goes on",
}


class MoveRefused(AuditError):
    """That move is not allowed from the request's state, or not for this person; the message says what is."""


def check_move(state: str, move: Move) -> State:
    """The state after the move; `MoveRefused` when it does not lead there from this one."""
    step = MOVES[move]
    if State(state) not in step.before:
        allowed = " or ".join(sorted(one.value for one in step.before))
        raise MoveRefused(f"It is {state}: {WORDS[State(state)]}. '{move.value}' is for one that is {allowed}.")
    return step.after


def next_moves(state: str) -> list[Move]:
    """Every move that leads on from that state, in the order of the table."""
    return [move for move, step in MOVES.items() if State(state) in step.before]
