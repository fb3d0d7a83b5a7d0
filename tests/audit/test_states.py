"""The states of a request: the full matrix."""

from __future__ import annotations

from itertools import product

import pytest

from audit.states import NEXT, NotAllowed, State, check_transition

ALLOWED = {
    ("requested", "approved"),
    ("requested", "refused"),
    ("requested", "cancelled"),
    ("requested", "void"),
    ("approved", "executed"),
    ("approved", "cancelled"),
    ("approved", "void"),
}


@pytest.mark.parametrize(("state", "following"), list(product(State, State)))
def test_the_matrix(state: State, following: State) -> None:
    if (state.value, following.value) in ALLOWED:
        check_transition(state.value, following)
    else:
        with pytest.raises(NotAllowed, match=f"The request is {state.value}"):
            check_transition(state.value, following)


def test_every_state_stands_in_the_table() -> None:
    assert set(NEXT) == set(State)
