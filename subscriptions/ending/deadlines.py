"""By when everything of an ended customer is destroyed, and who is told when (P12; design section 9). Pure: no Django, no clock.

    due: the earlier of so many times 24 hours after the receipt and the end of that day in the customer's zone
    a legal hold pauses it; the rest resumes when the last one is released, at least seven days

A hold that was placed when the day was over already hides nothing: it stays overdue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

# Of the time that there is: day 21 of 30.
TARGET = 0.7
COOLING_OFF = timedelta(hours=72)
LEAST_AFTER_HOLD = timedelta(days=7)
ALARM_DAYS = (14, 7, 3, 1)
REMINDER_DAYS = (3, 7, 14, 21)
ESCALATION_DAYS = 30
DAY = timedelta(days=1)

# From when to when a legal hold was open; None while it is.
Pause = tuple[datetime, datetime | None]


@dataclass(frozen=True, slots=True)
class Clock:
    """`due_at` is None while a hold pauses it; `rest` is then what resumes. `target_at` is our own, earlier aim."""

    began_at: datetime
    days: int
    due_at: datetime | None
    target_at: datetime | None
    rest: timedelta
    overdue: bool

    @property
    def paused(self) -> bool:
        return self.due_at is None


def clock(began_at: datetime, days: int, zone: str, holds: Iterable[Pause], now: datetime) -> Clock:
    """How the clock of the destruction stands. `days` are those agreed, 30 by the standard; `holds` need no order."""
    due = first_due(began_at, days, zone)
    target = began_at + (due - began_at) * TARGET
    for start, end in merged(holds):
        if end is not None and end <= began_at:
            continue
        rest = due - max(start, began_at)
        if rest <= timedelta(0):
            break  # it was overdue by then
        if end is None:
            return Clock(began_at, days, None, None, max(rest, LEAST_AFTER_HOLD), False)
        shift = max(rest, LEAST_AFTER_HOLD) - rest + (end - max(start, began_at))
        due, target = due + shift, target + shift
    return Clock(began_at, days, due, target, max(due - now, timedelta(0)), now > due)


def first_due(began_at: datetime, days: int, zone: str) -> datetime:
    """Without any hold: the earlier of `days` x 24 hours and the end of that day where the customer is."""
    by_hours = began_at.astimezone(UTC) + days * DAY  # in another zone days would be added by the wall clock
    last = began_at.astimezone(ZoneInfo(zone)).date() + days * DAY
    end = datetime.combine(last + DAY, time.min, ZoneInfo(zone))
    return min(by_hours, end.astimezone(UTC))


def merged(holds: Iterable[Pause]) -> list[Pause]:
    """Holds that overlap or touch as one, the oldest first."""
    found: list[Pause] = []
    for start, end in sorted(holds, key=lambda one: one[0]):
        if found and (found[-1][1] is None or start <= found[-1][1]):
            before = found.pop()
            found.append((before[0], None if end is None or before[1] is None else max(before[1], end)))
        else:
            found.append((start, end))
    return found


def cooled_off_at(approved_at: datetime, due_at: datetime) -> datetime:
    """From when on destruction may begin: the earlier of 72 hours and a third of the time that is left; at once when none is."""
    left = max(due_at - approved_at, timedelta(0))
    return approved_at + min(COOLING_OFF, left / 3)


def alarms(due_at: datetime, now: datetime) -> list[int]:
    """The alarms whose day has come: so many days before it is due. Those of one look that were slept through come together."""
    return [days for days in ALARM_DAYS if now >= due_at - days * DAY]


def reminders(handed_over_at: datetime, now: datetime) -> list[int]:
    """The reminders of the receipt whose day has come, in days after the package was handed over, or made where nobody fetched it."""
    return [days for days in REMINDER_DAYS if now >= handed_over_at + days * DAY]


def is_escalated(handed_over_at: datetime, now: datetime) -> bool:
    """Whether the receipt is outstanding for so long that the management is told, and silence may count where that was agreed."""
    return now >= handed_over_at + ESCALATION_DAYS * DAY
