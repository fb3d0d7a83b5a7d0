"""By when an ended customer is destroyed: the earlier reading of "within 30 days", paused by holds (P12)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.ending.deadlines import (
    COOLING_OFF,
    LEAST_AFTER_HOLD,
    alarms,
    clock,
    cooled_off_at,
    first_due,
    is_escalated,
    merged,
    reminders,
)

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
BEGAN = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)).map(lambda one: one.replace(tzinfo=UTC))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Asia/Kathmandu"])


def test_thirty_days_are_thirty_times_24_hours() -> None:
    assert first_due(BEGAN, 30, "UTC") == datetime(2026, 4, 9, 15, 0, tzinfo=UTC)


def test_and_not_later_than_the_end_of_that_day_where_the_customer_is() -> None:
    """In spring a day of Berlin has 23 hours, and day 30 ends before 30 x 24 hours do; in autumn one has 25, and it is the other way."""
    late = datetime(2026, 3, 10, 23, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert first_due(late, 30, "Europe/Berlin") == datetime(2026, 4, 10, 0, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    autumn = datetime(2026, 10, 10, 23, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert first_due(autumn, 30, "Europe/Berlin") == datetime(2026, 11, 9, 22, 30, tzinfo=ZoneInfo("Europe/Berlin"))


@given(began=MOMENTS, days=st.integers(1, 365), zone=ZONES)
def test_it_is_never_later_than_either_reading(began: datetime, days: int, zone: str) -> None:
    due = first_due(began, days, zone)
    assert due <= began + days * DAY
    assert due.astimezone(ZoneInfo(zone)).date() <= began.astimezone(ZoneInfo(zone)).date() + (days + 1) * DAY
    assert due > began + (days - 1) * DAY - 2 * HOUR


def test_an_open_hold_pauses_it_and_the_rest_resumes() -> None:
    held = BEGAN + 10 * DAY
    paused = clock(BEGAN, 30, "UTC", [(held, None)], held + 100 * DAY)
    assert paused.paused and not paused.overdue and paused.rest == 20 * DAY
    released = held + 100 * DAY
    resumed = clock(BEGAN, 30, "UTC", [(held, released)], released)
    assert resumed.due_at == released + 20 * DAY and resumed.rest == 20 * DAY


def test_at_least_seven_days_remain_after_a_hold() -> None:
    held, released = BEGAN + 29 * DAY, BEGAN + 60 * DAY
    assert clock(BEGAN, 30, "UTC", [(held, released)], released).due_at == released + LEAST_AFTER_HOLD


def test_a_hold_that_came_when_it_was_overdue_hides_nothing() -> None:
    now = BEGAN + 40 * DAY
    stands = clock(BEGAN, 30, "UTC", [(BEGAN + 31 * DAY, None)], now)
    assert stands.overdue and stands.due_at == BEGAN + 30 * DAY


def test_a_hold_that_was_over_before_the_receipt_changes_nothing() -> None:
    assert clock(BEGAN, 30, "UTC", [(BEGAN - 9 * DAY, BEGAN - DAY)], BEGAN).due_at == BEGAN + 30 * DAY


def test_one_that_was_open_at_the_receipt_lets_the_whole_time_begin_at_its_release() -> None:
    assert clock(BEGAN, 30, "UTC", [(BEGAN - 9 * DAY, BEGAN + DAY)], BEGAN).due_at == BEGAN + 31 * DAY


HOLDS = st.lists(
    st.tuples(st.integers(-40, 40), st.integers(0, 40) | st.none()).map(
        lambda one: (BEGAN + one[0] * DAY, None if one[1] is None else BEGAN + (one[0] + one[1]) * DAY)
    ),
    max_size=5,
)


@given(holds=HOLDS, after=st.integers(0, 200))
def test_a_hold_only_ever_gives_more_time_and_order_does_not_matter(holds: list, after: int) -> None:
    now = BEGAN + after * DAY
    stands = clock(BEGAN, 30, "UTC", holds, now)
    assert stands == clock(BEGAN, 30, "UTC", list(reversed(holds)), now)
    assert stands.due_at is None or stands.due_at >= BEGAN + 30 * DAY
    assert stands.overdue == (stands.due_at is not None and now > stands.due_at)


@given(holds=HOLDS)
def test_merged_holds_do_not_overlap_and_cover_the_same(holds: list) -> None:
    found = merged(holds)
    for (_, end), (start, _) in pairwise(found):
        assert end is not None and end < start
    for start, end in holds:
        assert any(a <= start and (b is None or (end is not None and end <= b)) for a, b in found)


@pytest.mark.parametrize(("left", "cools"), [(30 * DAY, COOLING_OFF), (3 * DAY, DAY), (-DAY, timedelta(0))])
def test_it_cools_off_for_72_hours_or_a_third_of_what_is_left(left: timedelta, cools: timedelta) -> None:
    assert cooled_off_at(BEGAN, BEGAN + left) == BEGAN + cools


def test_alarms_and_reminders_come_on_their_days() -> None:
    due = BEGAN + 30 * DAY
    assert [alarms(due, due - days * DAY - HOUR) for days in (14, 7, 3, 1)] == [[], [14], [14, 7], [14, 7, 3]]
    assert alarms(due, due) == [14, 7, 3, 1]
    assert reminders(BEGAN, BEGAN + 3 * DAY - HOUR) == [] and reminders(BEGAN, BEGAN + 15 * DAY) == [3, 7, 14]
    assert not is_escalated(BEGAN, BEGAN + 30 * DAY - HOUR) and is_escalated(BEGAN, BEGAN + 30 * DAY)
