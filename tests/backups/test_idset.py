"""Sets of ids as bytes: they come back, and are small."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups import idset


@given(st.sets(st.integers(0, 2**63 - 1)))
def test_ids_come_back(ids: set[int]) -> None:
    assert idset.unpacked(idset.packed(ids)) == ids


@given(st.lists(st.integers(0, 300)))
def test_order_and_repetition_do_not_matter(ids: list[int]) -> None:
    assert idset.packed(ids) == idset.packed(sorted(set(ids)))
    assert idset.unpacked(idset.packed(ids)) == set(ids)


def test_no_ids_are_empty_bytes_or_packed_nothing() -> None:
    assert idset.unpacked(b"") == idset.unpacked(idset.packed([])) == set()


@pytest.mark.parametrize("first", [0, 1, 2**40])
def test_ten_thousand_neighbours_take_less_than_two_kilobytes(first: int) -> None:
    ids = range(first, first + 10_000)
    assert len(idset.packed(ids)) < 2000
    assert idset.unpacked(idset.packed(ids)) == set(ids)


def test_ten_thousand_ids_among_many_customers_take_less_than_sixteen_kilobytes() -> None:
    assert len(idset.packed(range(7, 10_000 * 10_000, 10_000))) < 16_000
    assert len(idset.packed(number * 9973 % 1_000_003 for number in range(10_000))) < 16_000
