"""What is told next, from states alone (P13)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from audit.promises import Standing
from l2l.alarms.deciding import SETTLED, Deed, Look, Open, moves

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEPT, RISK, BROKEN = Standing


def deeds(look: Look | None, alarm: Open | None = None) -> list[str]:
    looks = [look] if look else []
    return [move.deed.value for move in moves(looks, {"control:x": alarm} if alarm else {}, NOW)]


def seen(state: Standing, ago: timedelta = timedelta(), *, text: str = "t", settles: bool = True) -> Look:
    return Look("control:x", state, NOW - ago, text, "do", settles)


@pytest.mark.parametrize(
    ("look", "alarm", "expected"),
    [
        (seen(KEPT), None, []),
        (seen(RISK), None, [Deed.RAISE]),
        (seen(BROKEN), None, [Deed.RAISE]),
        (seen(RISK), RISK, []),
        (seen(BROKEN), RISK, [Deed.WORSEN]),
        (seen(RISK), BROKEN, []),
        (seen(RISK, SETTLED), BROKEN, [Deed.EASE]),
        (seen(KEPT), BROKEN, []),
        (seen(KEPT, SETTLED - timedelta(seconds=1)), BROKEN, []),
        (seen(KEPT, SETTLED), BROKEN, [Deed.END]),
        (seen(KEPT, settles=False), RISK, [Deed.END]),
        (seen(RISK, text="other"), RISK, [Deed.REWORD]),
        (None, RISK, [Deed.END]),
    ],
)
def test_what_changes(look: Look | None, alarm: Standing | None, expected: list[Deed]) -> None:
    assert deeds(look, Open(alarm, "t", "do") if alarm else None) == expected


def test_what_flaps_every_few_minutes_is_one_alarm_that_does_not_end() -> None:
    alarm = Open(BROKEN, "t", "do")
    for minute in range(0, 60, 2):
        state = KEPT if minute % 4 else BROKEN
        assert not [*moves([Look("control:x", state, NOW + timedelta(minutes=minute), "t", "do")], {"control:x": alarm}, NOW)]
