"""What is read tonight, and what it costs: pure."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from backups.verification.cost import monthly
from backups.verification.due import share


@given(st.dictionaries(st.integers(0, 40), st.integers(1, 10**6), max_size=12))
def test_reading_the_share_every_night_lets_nothing_pass_its_day_and_is_the_least(due_in: dict[int, int]) -> None:
    tonight = share(due_in, None)
    assert tonight.total == sum(due_in.values()) and not tonight.behind

    def all_in_time(nightly: int) -> bool:
        """Oldest first: by the day on which something is due, so many nights have read."""
        due = sorted(due_in)
        return all(sum(due_in[one] for one in due if one <= day) <= nightly * max(day, 1) for day in due)

    assert all_in_time(tonight.bytes)
    assert not due_in or not all_in_time(tonight.bytes - 1)


def test_a_location_that_was_filled_in_one_night_is_read_in_even_parts() -> None:
    assert share({30: 3000}, None).bytes == 100


def test_what_is_late_is_read_tonight() -> None:
    assert share({0: 500, 1: 500, 30: 10}, None).bytes == 1000


def test_a_limit_that_is_too_low_says_how_many_nights_a_round_takes() -> None:
    low = share({30: 3000}, 60)
    assert (low.bytes, low.asked, low.behind, low.nights) == (60, 100, True, 50)
    assert not share({30: 3000}, 100).behind


def test_what_a_month_costs() -> None:
    cost = monthly(10_000, 90 * 1024**3, days=30, speed=50 * 1024**2, price=Decimal("0.09"))
    assert cost.bytes == 90 * 1024**3 and cost.money == Decimal("8.10")
    assert cost.requests == 10_000 + 30 * 11 and timedelta(minutes=30) < cost.time < timedelta(minutes=31)
    assert monthly(10_000, 90 * 1024**3, days=15, speed=None, price=None).bytes == 2 * cost.bytes
