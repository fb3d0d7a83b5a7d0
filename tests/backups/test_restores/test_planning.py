"""What is owed, how much a night takes, and what chance decides (P7)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.test_restores.planning import DAY, Cell, Span, forecast, needed, one_of, period, second_of, takes_oldest, tonight

NOW = datetime(2026, 3, 10, 1, 0, tzinfo=UTC)

cells = st.lists(
    st.builds(
        Cell,
        st.sampled_from([f"customer {n}" for n in range(9)]),
        st.sampled_from(["nightly", "weekly", "monthly"]),
        st.sampled_from(["primary", "offsite", "vault"]),
        # Some were there long before, some come later; none is late already.
        st.integers(-19, 40).map(lambda days: NOW + days * DAY),
    ),
    unique_by=lambda cell: cell.name,
    max_size=40,
)


@given(cells, st.integers(20, 120), st.integers(0, 3))
def test_night_by_night_every_cell_is_tested_within_its_period(made: list[Cell], test_days: int, at_least: int) -> None:
    tested: dict[str, datetime] = {}
    for night in range(150):
        # Nights begin at about the same hour.
        now = NOW + night * DAY + timedelta(minutes=(night * 7) % 60)
        there = [replace(cell, tested=tested.get(cell.name)) for cell in made if cell.since <= now]
        assert [cell for cell in there if cell.due(test_days) < now] == []
        for cell in tonight(there, test_days, at_least, now, f"seed {night}"):
            tested[cell.name] = now + timedelta(hours=1)


@given(cells, st.text(max_size=8), st.randoms(use_true_random=False))
def test_the_same_seed_chooses_the_same_in_whatever_order_things_are_found(made: list[Cell], seed: str, chance: object) -> None:
    mixed = list(made)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert tonight(made, 30, 2, NOW, seed) == tonight(mixed, 30, 2, NOW, seed)
    names = [cell.name for cell in made] or ["one"]
    assert one_of(seed, "about", names) == one_of(seed, "about", list(reversed(names)))


def test_what_comes_at_once_is_spread_over_the_nights() -> None:
    """Ten thousand customers, three tiers, two locations: a ninetieth of them a night, not all on the last."""
    many = [Cell(f"{n}", tier, place, NOW) for n in range(1000) for tier in ("nightly", "weekly") for place in ("a", "b")]
    assert needed([cell.due(90) for cell in many], NOW) in (45, 46)  # 4,000 in 89 nights, for the last may begin late


def test_what_is_late_is_taken_tonight_and_what_is_due_first_comes_first() -> None:
    late = [Cell(f"{n}", "nightly", "a", NOW - timedelta(days=100 + n)) for n in range(5)]
    assert tonight([*late, Cell("new", "nightly", "a", NOW)], 90, 0, NOW, "s") == late[::-1]
    assert tonight([], 90, 3, NOW, "s") == []


def test_monthly_sets_are_tested_often_enough_for_one_of_the_oldest_each_quarter() -> None:
    assert (period("monthly", 365).days, period("nightly", 365).days, period("monthly", 30).days) == (90, 365, 30)
    assert takes_oldest("monthly", None, NOW)
    assert not takes_oldest("monthly", datetime(2026, 1, 1, tzinfo=UTC), NOW)
    assert takes_oldest("monthly", datetime(2025, 12, 31, tzinfo=UTC), NOW)
    assert not takes_oldest("weekly", None, NOW)


@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.integers(0, 10**6)), min_size=1, max_size=4),
    st.text(max_size=8),
)
def test_a_random_second_lies_in_what_is_covered(found: list[tuple[int, int]], seed: str) -> None:
    spans = [Span(NOW + timedelta(seconds=start), NOW + timedelta(seconds=start + length)) for start, length in found]
    second = second_of(seed, "about", spans)
    assert second is not None and second == second_of(seed, "about", spans[::-1])
    assert any(span.start is not None and span.start <= second <= span.end for span in spans)


def test_a_second_is_drawn_from_all_of_them() -> None:
    spans = [Span(NOW, NOW + timedelta(seconds=9)), Span(NOW + DAY, NOW + DAY + timedelta(seconds=9)), Span(None, NOW + 2 * DAY)]
    drawn = {second_of(f"{n}", "about", spans) for n in range(400)}
    assert len(drawn) == 21
    assert second_of("s", "about", []) is None
    assert second_of("s", "about", [Span(None, NOW)]) == NOW


def test_without_sets_there_is_nothing_to_choose() -> None:
    with pytest.raises(ValueError, match="nothing"):
        one_of("s", "about", [])


@given(cells, st.integers(0, 3))
def test_a_forecast_says_what_the_nights_take_when_all_goes_well(made: list[Cell], at_least: int) -> None:
    left = [cell for cell in made if cell.since <= NOW]
    said = forecast([cell.due(30) for cell in left], at_least, NOW, 10)
    for night, (due, takes) in enumerate(said):
        now = NOW + night * DAY
        taken = tonight(left, 30, at_least, now, "seed")
        assert (takes, due) == (len(taken), sum(cell.due(30) <= now + timedelta(hours=27) for cell in left))
        left = [cell for cell in left if cell not in taken]


def test_what_failed_is_due_at_once_and_each_night_until_it_passes() -> None:
    cell = Cell("1", "nightly", "a", NOW - 80 * DAY, tested=NOW - DAY, failed=NOW)
    assert tonight([cell], 90, 0, NOW + DAY, "s") == tonight([cell], 90, 0, NOW + 2 * DAY, "s") == [cell]
