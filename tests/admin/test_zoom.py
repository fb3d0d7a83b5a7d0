"""The stretches of time of a timeline, and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2l.admin.zoom import DAY, HOUR, MINUTE, NoMoment, Zoom, moment_of, part, trail, weeks, written, zoomed

times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
lengths = st.sampled_from([DAY, HOUR, MINUTE])


@given(times, lengths)
def test_a_part_holds_its_moment_and_its_address_leads_back_to_it(at: datetime, length: timedelta) -> None:
    found = part(at, length)
    assert found.start <= at < found.end == found.start + length
    assert zoomed(found.key) == found
    assert found.bounds[0] == found.start and found.bounds[-1] == found.end
    assert all(later - earlier == found.step for earlier, later in pairwise(found.bounds))


@given(times, st.sampled_from([DAY, HOUR]))
def test_each_part_leads_further_in_and_back_out(at: datetime, length: timedelta) -> None:
    found = part(at, length)
    inner = [zoomed(found.key_of(bound)) for bound in found.bounds[:-1]]
    assert [one.start for one in inner if one] == found.bounds[:-1]
    assert {one.around for one in inner if one} == {found}


@given(times)
def test_four_weeks_end_with_their_day(at: datetime) -> None:
    found = weeks(at)
    assert found.end - DAY <= at < found.end and len(found.bounds) == 29 and found.key == ""
    assert zoomed(found.key_of(found.bounds[-2])) == part(at, DAY)
    assert found.moved(-1).end == found.start


def test_the_way_back_out() -> None:
    minute = zoomed("2026-03-10T14:05")
    assert minute is not None and [one.key for one in trail(minute)] == ["2026-03-10", "2026-03-10T14"]
    assert list(trail(weeks(minute.start))) == []
    titles = [one.title for one in (weeks(minute.start), *trail(minute), minute)]
    assert titles == ["11 Feb to 10 Mar 2026", "10 March 2026", "10 March 2026, 14:00 to 15:00 UTC", "10 March 2026, 14:05 UTC"]


@pytest.mark.parametrize("text", ["", "nonsense", "2026-13-01", "2026-03-10T25", "0001-01-01", "9999-12-31", "2026-03-10T14:05:09"])
def test_what_is_no_stretch_of_time(text: str) -> None:
    assert zoomed(text) is None


@given(times)
def test_a_moment_as_it_is_written_is_read_again(at: datetime) -> None:
    assert moment_of(written(at)) == at
    assert written(at).endswith("Z")


def test_a_moment_has_a_zone() -> None:
    assert moment_of("2026-07-01T12:00:00", ZoneInfo("Europe/Berlin")) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert moment_of("2026-07-01T12:00:00-05:00", ZoneInfo("Europe/Berlin")) == datetime(2026, 7, 1, 17, tzinfo=UTC)
    for text, told in (
        ("2026-07-01T12:00:00", "has no zone"),
        ("tomorrow", "is no moment"),
        ("", "is no moment"),
        ("0001-01-01T00:00:00+14:00", "is no moment"),
        ("1066-10-14T12:00:00Z", "Nothing is known of the year 1066"),
    ):
        with pytest.raises(NoMoment, match=told):
            moment_of(text)


def test_an_hour_is_hashable_and_compares() -> None:
    assert {Zoom(datetime(2026, 3, 10, tzinfo=UTC), datetime(2026, 3, 11, tzinfo=UTC), HOUR)} == {zoomed("2026-03-10")}
