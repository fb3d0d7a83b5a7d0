"""Which night a moment belongs to: from noon to noon where the business is, also when the clocks are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.slots import night_of

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("moment", "night"),
    [
        ("2026-03-10T12:00:00+01:00", "2026-03-10"),
        ("2026-03-10T11:59:59.999999+01:00", "2026-03-09"),
        ("2026-03-10T23:59:59+01:00", "2026-03-10"),
        ("2026-03-11T00:00:00+01:00", "2026-03-10"),
        ("2026-03-11T02:00:00+01:00", "2026-03-10"),
        ("2027-01-01T03:00:00+01:00", "2026-12-31"),
        ("2028-03-01T03:00:00+01:00", "2028-02-29"),
    ],
)
def test_a_night_lasts_from_noon_to_noon_and_has_the_name_of_its_evening(moment: str, night: str) -> None:
    assert night_of(datetime.fromisoformat(moment), BERLIN) == date.fromisoformat(night)


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        ("2026-03-28T11:00:00+00:00", "2026-03-29T10:00:00+00:00", 23),  # clocks go forward at 01:00 UTC
        ("2026-10-24T10:00:00+00:00", "2026-10-25T11:00:00+00:00", 25),  # and back
    ],
)
def test_the_night_in_which_the_clocks_change_is_one_night(first: str, last: str, hours: int) -> None:
    begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    inside = {night_of(begin + timedelta(minutes=minutes), BERLIN) for minutes in range(hours * 60)}
    assert inside == {begin.date()}
    assert night_of(begin - timedelta(microseconds=1), BERLIN) == begin.date() - timedelta(days=1)
    assert night_of(end, BERLIN) == end.date()


@pytest.mark.parametrize(
    ("zone", "night"), [("UTC", "2026-03-09"), ("Pacific/Kiritimati", "2026-03-10"), ("Pacific/Pago_Pago", "2026-03-09")]
)
def test_the_same_moment_is_another_night_elsewhere(zone: str, night: str) -> None:
    assert night_of(datetime(2026, 3, 10, 2, 0, tzinfo=UTC), ZoneInfo(zone)) == date.fromisoformat(night)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.timezones()), st.timedeltas(timedelta(), timedelta(days=2)))
def test_time_goes_on_and_so_do_nights(moment: datetime, later: timedelta) -> None:
    moment = moment.astimezone(UTC)
    assert night_of(moment, BERLIN) <= night_of(moment + later, BERLIN)
    assert night_of(moment, BERLIN) == night_of(moment.astimezone(ZoneInfo("Asia/Tokyo")), BERLIN)
