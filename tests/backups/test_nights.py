"""Which nights are owed, late, missed, tried again: decided from data and a moment alone (P1)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups import nights, states
from backups.nights import DAY, NightReport, Owner
from backups.policy import Policy, differences, in_force
from backups.slots import night_of

BERLIN, NEW_YORK, LORD_HOWE = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def policy(number: int = 1, **changes: object) -> Policy:
    return Policy(**{"number": number, "in_force_from": LONG_AGO, "zone": BERLIN} | changes)  # type: ignore[arg-type]


def labels(owner: Owner, now: datetime, *versions: Policy, after: date | None = None) -> list[date]:
    return [night.label for night in nights.nights_owed(owner, versions or (policy(),), now, after=after)]


zones = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("UTC"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("Pacific/Chatham")])
moments = st.datetimes(datetime(2020, 2, 1), datetime(2040, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))
clock_times = st.times().map(lambda one: one.replace(microsecond=0, tzinfo=None))


@given(moments, zones, clock_times)
def test_every_moment_lies_in_exactly_the_night_that_is_called_so(moment: datetime, zone: ZoneInfo, starts: time) -> None:
    versions = [policy(zone=zone, night_starts=starts)]
    night = nights.current_night(versions, moment)
    assert night.begins_at <= moment < night.ends_at
    assert night.begins_at <= night.due_at < night.ends_at
    assert nights.night_called(night.label + DAY, versions).begins_at == night.ends_at
    assert night_of(night.due_at, zone) == night.label


@given(st.dates(date(2020, 2, 1), date(2039, 1, 1)), st.integers(0, 30), zones, clock_times)
def test_a_stretch_of_days_has_one_night_each_however_clocks_change(first: date, days: int, zone: ZoneInfo, starts: time) -> None:
    only = policy(zone=zone, night_starts=starts)
    begun = nights.night_under(first, only).begins_at
    found = labels(Owner(begun), nights.night_under(first + days * DAY, only).begins_at, only)
    assert found == [first + n * DAY for n in range(days + 1)]


def test_the_day_of_23_hours_and_the_day_of_25_hours_have_one_night() -> None:
    spring, autumn = nights.night_under(date(2026, 3, 28), policy()), nights.night_under(date(2026, 10, 24), policy())
    assert spring.ends_at - spring.begins_at == timedelta(hours=23)
    assert autumn.ends_at - autumn.begins_at == timedelta(hours=25)


def test_a_start_that_the_spring_change_leaves_out_comes_an_hour_later_and_one_that_autumn_has_twice_is_the_first() -> None:
    at_half_past_two = policy(night_starts=time(2, 30))
    assert nights.night_under(date(2026, 3, 28), at_half_past_two).due_at == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert nights.night_under(date(2026, 10, 24), at_half_past_two).due_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_the_night_of_onboarding_is_owed_from_then_on() -> None:
    onboarded = datetime(2026, 3, 10, 22, 30, tzinfo=UTC)  # half past eleven in Berlin, after the night's start
    (night,) = nights.nights_owed(Owner(onboarded), [policy()], onboarded)
    assert (night.label, night.due_at) == (date(2026, 3, 10), onboarded)


def test_nights_are_owed_from_the_first_day_to_the_last() -> None:
    owner = Owner(LONG_AGO, date(2026, 3, 1), date(2026, 3, 3))
    assert labels(owner, datetime(2026, 4, 1, tzinfo=UTC)) == [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)]
    assert labels(owner, datetime(2026, 4, 1, tzinfo=UTC), after=date(2026, 3, 2)) == [date(2026, 3, 3)]
    assert labels(owner, datetime(2026, 3, 1, 10, 0, tzinfo=UTC)) == []  # before noon the night before runs, and it is not the customer's


def test_each_night_goes_by_the_version_that_was_in_force_when_it_began() -> None:
    second = policy(2, in_force_from=datetime(2026, 3, 10, 15, 0, tzinfo=UTC), night_starts=time(3, 0))
    tenth, eleventh = (nights.night_called(date(2026, 3, day), [policy(), second]) for day in (10, 11))
    assert (tenth.policy.number, tenth.due_at) == (1, datetime(2026, 3, 10, 21, 0, tzinfo=UTC))
    assert (eleventh.policy.number, eleventh.due_at) == (2, datetime(2026, 3, 12, 2, 0, tzinfo=UTC))


@given(moments, zones, zones)
def test_a_new_zone_leaves_no_label_out_and_has_none_twice(changed_at: datetime, before: ZoneInfo, after: ZoneInfo) -> None:
    versions = [policy(zone=before), policy(2, zone=after, in_force_from=changed_at)]
    owner, label = Owner(changed_at - 3 * DAY), None
    seen: list[date] = []
    for hours in range(-72, 96, 5):  # as a worker would, looking now and then
        new = [night.label for night in nights.nights_owed(owner, versions, changed_at + timedelta(hours=hours), after=label)]
        seen, label = seen + new, (seen + new)[-1] if seen + new else None
    assert seen == [seen[0] + n * DAY for n in range(len(seen))]


def test_of_several_nights_that_wait_only_the_newest_can_be_filled() -> None:
    one, two, three = (date(2026, 3, day) for day in (1, 2, 3))
    assert nights.missed([one, two, three], [one, two, three]) == {one, two}
    assert nights.missed([one, two, three], [one, two]) == {one}  # the third is not due yet
    assert nights.missed([one], [one]) == set()


def test_a_run_begun_at_the_noon_that_ends_its_night_is_late() -> None:
    noon = datetime(2026, 3, 11, 11, 0, tzinfo=UTC)
    assert not nights.is_late(noon - timedelta(seconds=1), noon) and nights.is_late(noon, noon)


def test_failures_are_tried_again_after_longer_and_longer_and_not_for_ever() -> None:
    now, few = datetime(2026, 3, 10, tzinfo=UTC), policy(max_attempts=6)
    waits = [nights.next_try(few, attempts, now) for attempts in range(1, 7)]
    assert [int((at - now).total_seconds() // 60) if at else None for at in waits] == [1, 5, 15, 60, 60, None]


def test_the_version_in_force_is_the_last_made_of_those_that_have_begun() -> None:
    versions = [
        policy(),
        policy(2, in_force_from=datetime(2026, 6, 1, tzinfo=UTC)),
        policy(3, in_force_from=datetime(2026, 5, 1, tzinfo=UTC)),
    ]
    assert in_force(versions, datetime(2026, 4, 1, tzinfo=UTC)).number == 1
    assert in_force(versions, datetime(2026, 7, 1, tzinfo=UTC)).number == 3
    assert in_force(versions[1:], LONG_AGO).number == 2
    with pytest.raises(ValueError, match="init"):
        in_force([], LONG_AGO)


def test_what_keeps_less_is_named() -> None:
    found = differences(policy(), policy(2, nightly_days=14, weekly_weeks=60, night_starts=time(23, 0)))
    assert [(one.name, one.shorter) for one in found] == [("night_starts", False), ("nightly_days", True), ("weekly_weeks", False)]


@pytest.mark.parametrize(("state", "following"), list(product(states.NEXT, states.NEXT)))
def test_the_whole_matrix_of_states(state: str, following: str) -> None:
    if following in states.NEXT[state]:
        states.check_transition(state, following)
    else:
        with pytest.raises(states.NotAllowed, match=f"{state} cannot become {following}"):
            states.check_transition(state, following)


def test_what_was_filled_missed_or_excused_stays_so() -> None:
    assert {state for state, following in states.NEXT.items() if not following} == {"done", "missed", "excused"}


@pytest.mark.parametrize(
    ("column", "over", "red"),
    [
        ("filled", True, False),
        ("late", True, False),
        ("excused", True, False),
        ("paused", True, False),
        ("missed", False, True),
        ("failed", False, True),
        ("stopped", False, True),
        ("not_everywhere", False, True),
        ("unaccounted", False, True),
        ("waiting", False, False),
        ("waiting", True, True),
        ("running", True, True),
    ],
)
def test_when_a_night_is_red(column: str, over: bool, red: bool) -> None:
    assert NightReport(date(2026, 3, 10), owed=1, over=over, counts={column: 1}).red is red
