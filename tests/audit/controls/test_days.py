"""The days of the controls, of their readings: the worst counts, what is missing is missing, and doing it again changes nothing (P13)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import audit
from audit.controls import days as control_days
from audit.models import ControlDay, Reading

DAY = date(2026, 3, 1)
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def read(hours: float, **states: Any) -> None:
    """One reading, so many hours after midnight: `nights="kept"`, or with a value, or a whole entry."""
    plain = {name: {"state": one, "figure": f"{name} {one} at {hours}", "value": hours} for name, one in states.items()}
    told = {name: one if isinstance(one, dict) else plain[name] for name, one in states.items()}
    at = MIDNIGHT + timedelta(hours=hours)
    with audit.acting("worker", reason="a test"):
        Reading.objects.create(hour=at, at=at, controls=told, software="1")


def test_the_worst_hour_is_the_days_state_and_its_figure_stands() -> None:
    for hour, state in ((0, "kept"), (1, "broken"), (2, "at risk"), (3, "broken"), (4, "kept")):
        read(hour, nights=state)
    assert control_days.sum_up() == 1
    row = ControlDay.objects.get()
    assert (row.control, row.day, row.state, row.figure) == ("nights", DAY, "broken", "nights broken at 3")
    assert (row.kept, row.at_risk, row.broken, row.least, row.most) == (2, 1, 2, 0.0, 4.0)


def test_a_break_between_two_readings_counts() -> None:
    read(0, nights={"state": "kept", "worst": "broken", "figure": "x", "value": None})
    control_days.sum_up()
    assert ControlDay.objects.values_list("state", "broken", "least").get() == ("broken", 1, None)


def test_days_begin_at_midnight_utc_and_a_day_without_readings_has_no_row() -> None:
    for hour in (23, 24, 72):
        read(hour, nights="kept", copies="kept")
    assert control_days.sum_up() == 6
    days = ControlDay.objects.filter(control="nights").values_list("day", flat=True)
    assert list(days) == [DAY, DAY + timedelta(days=1), DAY + timedelta(days=3)]


def test_it_goes_on_from_the_newest_day_and_is_safe_to_repeat() -> None:
    read(0, nights="kept")
    assert control_days.sum_up() == 1
    read(1, nights="broken")
    read(24, nights="kept")
    assert control_days.sum_up() == 2
    before = list(ControlDay.objects.values_list("day", "state", "kept", "broken"))
    assert before == [(DAY, "broken", 1, 1), (DAY + timedelta(days=1), "kept", 1, 0)]
    control_days.sum_up()
    assert list(ControlDay.objects.values_list("day", "state", "kept", "broken")) == before


def test_what_was_lost_is_made_again_of_all_readings() -> None:
    for day in range(40):
        read(24 * day, nights="kept")
    control_days.sum_up()
    ControlDay.objects.all().delete()
    assert control_days.sum_up() == 40


def test_without_a_reading_there_is_nothing_to_do() -> None:
    assert control_days.sum_up() == 0
