"""Quarters, and by when what they ask for is due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from audit.reviews.quarters import Quarter, named, quarter_of


def test_the_quarters_follow_each_other_through_the_years() -> None:
    one = Quarter(2025, 1)
    for _ in range(8):
        assert one.next.before == one and one.last_day + timedelta(days=1) == one.next.first_day
        one = one.next
    assert one == Quarter(2027, 1)


def test_it_is_due_two_weeks_after_its_end() -> None:
    last = named("2026-Q4")
    assert (last.first_day, last.last_day, last.due_on) == (date(2026, 10, 1), date(2026, 12, 31), date(2027, 1, 14))


def test_the_quarter_of_a_moment_is_the_one_in_utc() -> None:
    assert quarter_of(datetime(2027, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))) == Quarter(2026, 4)
    assert [str(quarter_of(datetime(2026, month, 1, tzinfo=UTC))) for month in (1, 3, 4, 12)] == [
        "2026-Q1",
        "2026-Q1",
        "2026-Q2",
        "2026-Q4",
    ]


@pytest.mark.parametrize("text", ["2026-Q5", "2026Q1", "26-Q1", ""])
def test_what_is_no_quarter_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it as 2026-Q4"):
        named(text)
