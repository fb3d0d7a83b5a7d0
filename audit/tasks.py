"""What the queue calls of this app. Every task is safe to run twice."""

from __future__ import annotations

from audit import actors, clock, grants, people
from audit.controls import days as control_days


def end_roles() -> None:
    """Takes away each role whose time is over."""
    with actors.acting("worker", reason="its time is over", source="end_roles"):
        grants.expire_grants(clock.now())


def keep_people() -> None:
    """The users as the backups have them: what a killed process saved of a user and did not keep."""
    with actors.acting("worker", reason="people as they are stored", source="keep_people"):
        people.keep()


def sum_up_controls() -> str:
    """The days of the controls, of their hourly readings."""
    return f"{control_days.sum_up()} days of controls"
