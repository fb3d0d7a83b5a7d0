"""Controls of our own in the place of the real ones, and how they stand: for the pages that show them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from audit import controls
from audit.controls import Control, Measured
from audit.models import ControlDay, ControlState
from audit.promises import PROMISES, Standing

KEPT = "kept"


def control(name: str, promise: str, evidence: str = "admin:l2l_backups_run_changelist", query: str = "") -> Control:
    return Control(name, promise, f"What {name} counts", f"{name}: at risk from 1, broken from 2", "things", _unused, evidence, query)


def _unused(now: datetime) -> Measured:
    raise AssertionError("A page measures nothing.")


@pytest.fixture
def fourteen(monkeypatch: pytest.MonkeyPatch) -> list[Control]:
    """One for each promise, and a second one for P3."""
    monkeypatch.setattr(controls, "_registered", {})
    found = [control(f"of-{number.lower()}", number) for number in PROMISES]
    found.append(control("of-p3-too", "P3", "admin:l2l_backups_location_changelist", "in_force__exact=1"))
    for one in found:
        controls.register(one)
    return found


@pytest.fixture
def measured(fourteen: list[Control], db: None) -> list[Control]:
    """All of them kept, a moment ago."""
    for one in fourteen:
        stand(one.name)
    return fourteen


def stand(name: str, state: str = KEPT, **about: Any) -> None:
    now = datetime.now(UTC)
    usual = {"figure": f"0 things of {name}", "value": 0, "since": now - timedelta(days=3), "measured_at": now - timedelta(seconds=20)}
    ControlState.objects.update_or_create(control=name, defaults={"state": state, **usual, **about})


def a_day(name: str, day: date, state: str = KEPT, **about: Any) -> None:
    hours = {Standing(state).name.lower(): 24}
    ControlDay.objects.create(control=name, day=day, state=state, **({"figure": "5 things", "least": 0, "most": 5} | hours | about))
