"""Times as people read them: the zone always, and the unit that fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from audit.moments import in_utc, in_utc_to_the_second, length, span


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(), "0 ms"),
        (timedelta(milliseconds=38), "38 ms"),
        (timedelta(seconds=0.44), "0.4 s"),
        (timedelta(seconds=12), "12 s"),
        (timedelta(minutes=3, seconds=5), "3 min 5 s"),
        (timedelta(hours=26, minutes=4, seconds=59), "26 h 4 min"),
    ],
)
def test_a_length_of_time_is_said_in_the_unit_that_fits(time: timedelta, said: str) -> None:
    assert length(time) == said


def test_a_moment_is_said_in_utc_wherever_it_was_noted() -> None:
    moment = datetime(2026, 3, 4, 23, 5, 9, tzinfo=timezone(timedelta(hours=-3)))
    assert (in_utc(moment), in_utc_to_the_second(moment)) == ("5 Mar 2026, 02:05 UTC", "5 Mar 2026, 02:05:09 UTC")
    assert in_utc(moment.astimezone(UTC)) == in_utc(moment)


def test_what_is_younger_than_a_minute_is_not_said_to_be_nothing() -> None:
    assert (span(timedelta(seconds=59)), span(timedelta(seconds=60))) == ("less than a minute", "1 min")
