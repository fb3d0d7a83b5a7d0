"""A period of a zone whose clock jumps has the hours that passed, for us as for the verifier, which counts in UTC (P13)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from audit.populations import Period
from l2l.evidence import writing
from l2l.evidence.verify_evidence import APART


def whole(day: date, zone: str) -> Period:
    begins, ends = (datetime(one.year, one.month, one.day, tzinfo=ZoneInfo(zone)) for one in (day, day + timedelta(days=1)))
    return Period(begins, ends)


@pytest.mark.parametrize(
    ("day", "zone", "hours"),
    [
        (date(2026, 4, 24), "Africa/Cairo", 23),  # its first hour is left out
        (date(2026, 10, 29), "Africa/Cairo", 25),  # its last hour comes twice
        (date(2026, 3, 29), "Europe/Berlin", 23),
        (date(2026, 10, 25), "Europe/Berlin", 25),
    ],
)
def test_its_first_and_last_hour_are_an_hour_each(day: date, zone: str, hours: int, db: None) -> None:
    period = whole(day, zone)
    begins, ends = (moment.astimezone(UTC) for moment in (period.begins, period.ends))
    assert ends - begins == timedelta(hours=hours)
    assert period.widened(-APART) == (begins + APART, ends - APART) and period.widened(APART) == (begins - APART, ends + APART)
    ((_, _, missing),) = writing.gaps(period, datetime(2027, 1, 1, tzinfo=UTC))
    assert missing == hours
