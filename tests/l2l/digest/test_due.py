"""When a digest is due: Monday at six where we are, at once the first time, once for weeks that were missed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from l2l.digest.due import is_due, week_of

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("now", "zone", "week"),
    [
        ("2026-03-02T04:59", BERLIN, date(2026, 2, 23)),
        ("2026-03-02T05:00", BERLIN, date(2026, 3, 2)),
        ("2026-03-08T23:00", BERLIN, date(2026, 3, 2)),
        ("2026-03-30T03:59", BERLIN, date(2026, 3, 23)),  # summer time began the day before
        ("2026-03-30T04:00", BERLIN, date(2026, 3, 30)),
        ("2026-03-02T10:59", NEW_YORK, date(2026, 2, 23)),
        ("2026-03-02T11:00", NEW_YORK, date(2026, 3, 2)),
    ],
)
def test_the_week_of_a_moment(now: str, zone: ZoneInfo, week: date) -> None:
    assert week_of(datetime.fromisoformat(now).replace(tzinfo=UTC), zone) == week


def test_the_first_is_due_at_once_and_missed_weeks_are_one() -> None:
    now = datetime(2026, 3, 18, 12, tzinfo=UTC)  # a Wednesday
    assert is_due(None, now, BERLIN) and is_due(date(2026, 2, 4), now, BERLIN) and is_due(date(2026, 3, 15), now, BERLIN)
    assert not is_due(date(2026, 3, 16), now, BERLIN) and not is_due(date(2026, 3, 18), now, BERLIN)
