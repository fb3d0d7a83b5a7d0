"""The table of moves: exactly the paths of the policy, and no way back from the point of no return (P10 to P12)."""

from __future__ import annotations

import itertools

import pytest

from subscriptions.ending.states import ENDED, MOVES, PAST_RETURN, WORDS, Move, MoveRefused, State, check_move, next_moves

ALLOWED = {
    ("requested", "return", "returning"),
    ("returning", "returned", "returned"),
    ("returned", "fault", "returning"),
    ("returned", "acknowledge", "acknowledged"),
    ("requested", "waive", "waived"),
    ("acknowledged", "approve", "approved"),
    ("waived", "approve", "approved"),
    ("approved", "void", "acknowledged"),
    ("approved", "destroy", "destroying"),
    ("destroying", "destroyed", "destroyed"),
    ("destroyed", "reopen", "destroying"),
    *((state, "cancel", "cancelled") for state in ("requested", "returning", "returned", "acknowledged", "waived", "approved")),
}


@pytest.mark.parametrize(("state", "move"), list(itertools.product(State, Move)))
def test_every_move_leads_where_the_policy_says_or_nowhere(state: State, move: Move) -> None:
    leads = [after for before, name, after in ALLOWED if (before, name) == (state, move)]
    if leads:
        assert [check_move(state, move)] == leads
    else:
        with pytest.raises(MoveRefused, match=f"It is {state.value}: .* '{move.value}' is for one that is "):
            check_move(state, move)
    assert (move in next_moves(state)) == bool(leads)


def test_nothing_leads_from_destruction_but_to_its_end() -> None:
    assert {MOVES[move].after for state in PAST_RETURN for move in next_moves(state)} == {State.DESTROYING, State.DESTROYED}
    assert next_moves(State.CANCELLED) == [] and State.CANCELLED in ENDED


def test_each_state_is_told_in_words() -> None:
    assert set(WORDS) == set(State)
