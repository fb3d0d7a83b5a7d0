"""What differs, how much of it is too much, and in which order values that must be unique change hands (pure)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.errors import TooMuchDiffers
from backups.live_restore.comparing import Allowance, Compared, compare, digest_of_changes
from backups.live_restore.ordering import in_order

Rows = dict[int, bytes]
ROWS = st.dictionaries(st.integers(1, 30), st.binary(max_size=3), max_size=20)


def compared(live: Rows, wanted: Rows, allowance: Allowance | None = None) -> Compared:
    return compare(live.items(), wanted.items, allowance or Allowance())


@given(ROWS, ROWS)
def test_what_is_found_makes_the_one_into_the_other(live: Rows, wanted: Rows) -> None:
    found, made = compared(live, wanted), dict(live)
    for change in found.all:
        assert made.get(change.key) == change.before != change.after
        if change.after is None:
            del made[change.key]
        else:
            made[change.key] = change.after
    assert made == wanted and found.wanted == len(wanted)
    assert found.counts == [
        len(wanted.keys() - live),
        sum(live[key] != wanted[key] for key in live.keys() & wanted),
        len(live.keys() - wanted),
    ]


@given(ROWS, ROWS, ROWS)
def test_the_digest_tells_one_difference_from_another(live: Rows, wanted: Rows, other: Rows) -> None:
    one, two = compared(live, wanted), compared(other, wanted)
    assert (digest_of_changes(one.all) == digest_of_changes(two.all)) == (one.all == two.all)
    shuffled = dict(reversed(live.items()))
    assert digest_of_changes(compared(shuffled, wanted).all) == digest_of_changes(one.all)


@pytest.mark.parametrize(
    ("live", "wanted"), [({}, {1: b"", 2: b"", 3: b""}), ({1: b"", 2: b"", 3: b""}, {}), ({1: b"a", 2: b"a"}, {1: b"b", 3: b"b"})]
)
def test_more_rows_than_allowed_in_all_is_too_much(live: Rows, wanted: Rows) -> None:
    assert sum(compared(live, wanted, Allowance(rows=3)).counts) == 3
    with pytest.raises(TooMuchDiffers, match="More than 2 rows"):
        compared(live, wanted, Allowance(rows=2))
    together = Allowance(rows=5)
    compared(live, wanted, together)
    with pytest.raises(TooMuchDiffers):
        compared(live, wanted, together)


def test_longer_texts_than_allowed_are_too_much() -> None:
    compared({1: b"x" * 50, 2: b"same" * 100}, {1: b"y" * 50, 2: b"same" * 100}, Allowance(size=100))
    with pytest.raises(TooMuchDiffers, match="restore one model at a time"):
        compared({1: b"x" * 50}, {1: b"y" * 51}, Allowance(size=100))


NAMES = st.lists(st.integers(0, 8), min_size=9, max_size=9, unique=True)


@given(NAMES, NAMES)
def test_in_that_order_no_two_rows_ever_hold_one_value(before: list[int], after: list[int]) -> None:
    def slots(names: list[int]) -> dict[Any, Any]:
        return {key: frozenset({("name", name)}) for key, name in enumerate(names)}

    order = in_order(slots(before), slots(after))
    assert sorted((*order.updates, *order.remade)) == list(range(9))
    held = {key: name for key, name in enumerate(before) if key not in order.remade}
    for key in order.updates:
        del held[key]
        assert after[key] not in held.values()
        held[key] = after[key]
    for key in order.remade:
        assert after[key] not in held.values()
        held[key] = after[key]


def test_only_one_row_of_each_circle_is_remade() -> None:
    before = {1: "a", 2: "b", 3: "c", 4: "d", 5: "e", 6: "f"}
    after = {1: "b", 2: "c", 3: "a", 4: "e", 5: "d", 6: "free"}

    def slots(names: dict[int, str]) -> dict[Any, Any]:
        return {key: frozenset({("name", name)}) for key, name in names.items()}

    order = in_order(slots(before), slots(after))
    assert (len(order.updates), order.remade) == (4, (1, 4))
    shifted = in_order(slots({1: "a", 2: "b", 3: "c"}), slots({1: "b", 2: "c", 3: "d"}))
    assert (shifted.updates, shifted.remade) == ((3, 2, 1), ())
