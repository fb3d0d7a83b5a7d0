"""The clock is the machine's and the database's; only a sample home may set it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from audit import clock


def test_it_is_the_machines_clock() -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=1)


def test_the_databases_clock(db: None) -> None:
    assert abs(clock.database_now() - datetime.now(UTC)) < timedelta(seconds=2)


def test_a_sample_home_sets_it_and_it_goes_on(settings: Any, db: None) -> None:
    settings.L2L_SAMPLE, settings.L2L_NOW = True, "2030-01-01T12:00:00+02:00"
    first, second, third = clock.now(), clock.now(), clock.database_now()
    assert datetime(2030, 1, 1, 10, tzinfo=UTC) <= first < second < third < datetime(2030, 1, 1, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sample", "text", "message"),
    [(False, "2030-01-01T12:00:00+00:00", "not a sample home"), (True, "2030-01-01T12:00:00", "no zone"), (True, "tomorrow", "no time")],
)
def test_anything_else_is_refused(settings: Any, sample: bool, text: str, message: str) -> None:
    from l2l import checks

    settings.L2L_SAMPLE, settings.L2L_NOW = sample, text
    with pytest.raises(clock.ClockRefused, match=message):
        clock.now()
    assert "l2l.E008" in {found.id for found in checks.check_settings(None)}
