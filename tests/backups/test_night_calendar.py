"""The calendar of nights (P1): whole weeks, every run counted once, the worst of a night shown."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.night_calendar import KINDS, Day, calendar
from backups.nights import COLUMNS

WEDNESDAY = date(2026, 3, 11)


def test_weeks_run_from_monday_to_sunday_and_end_with_the_newest_night() -> None:
    weeks = calendar([], WEDNESDAY, weeks=2)
    assert [week[0].night for week in weeks] == [date(2026, 3, 2), date(2026, 3, 9)]
    assert [day.ahead for day in weeks[-1]] == [False, False, False, True, True, True, True]
    assert weeks[0][0].words == "nothing was owed" and weeks[0][0].kind == ""


def test_a_night_shows_its_worst() -> None:
    counted = [(WEDNESDAY, "done", False, 8), (WEDNESDAY, "done", True, 1), (WEDNESDAY, "complete", False, 1)]
    day = calendar(counted, WEDNESDAY)[-1][2]
    assert (day.kind, day.filled, day.owed) == ("warn", 9, 10)
    assert day.words == "8 filled, 1 late, 1 not yet everywhere"
    day.counts["missed"] = 1
    assert day.kind == "bad"


@pytest.mark.parametrize("state", [*COLUMNS, "done"])
def test_every_state_is_counted(state: str) -> None:
    (day,) = [day for week in calendar([(WEDNESDAY, state, False, 3)], WEDNESDAY) for day in week if day.counts]
    assert day.owed == 3


@given(st.dates(date(2020, 1, 1), date(2035, 1, 1)), st.integers(1, 60))
def test_every_night_is_there_once(newest: date, weeks: int) -> None:
    shown = [day.night for week in calendar([], newest, weeks=weeks) for day in week]
    assert len(shown) == len(set(shown)) == 7 * weeks and newest in shown[-7:] and shown == sorted(shown)


def test_the_columns_that_colour_a_night_exist() -> None:
    known = {*COLUMNS.values(), "filled", "late"}
    assert {column for columns in KINDS.values() for column in columns} <= known
    assert Day(WEDNESDAY, counts={"paused": 1}).kind == ""
