"""There is evidence of all that, for any period."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from audit import controls
from audit.models import Event, Reading
from audit.promises import Standing
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P13")]

NINTH = date(2026, 3, 9)


def test_each_hour_says_how_every_promise_stood(service: Service, acme: Any) -> None:
    service.measured()
    service.clock.forward(hours=1)
    service.measured()
    assert Reading.objects.count() == 2
    [newest] = Reading.objects.order_by("-hour")[:1]
    assert newest.controls.keys() == {control.name for control in controls.all_controls()}
    assert all(said["state"] and said["figure"] and said["threshold"] for said in newest.controls.values())


def test_hours_that_nobody_measured_turn_it_red_until_a_week_has_all(service: Service, acme: Any, monkeypatch: Any) -> None:
    service.night(NINTH)
    assert service.broken() == set()
    monkeypatch.setattr(Service, "_keep_measured", lambda self: None)  # the worker does not run
    service.night(NINTH + timedelta(days=1))
    service.clock.forward(hours=4)
    assert service.broken() == {"P13"}
    assert service.state("readings").value == 27 and service.state("readings").figure.startswith("27 hours of the last 7 days")
    assert service.findings() == ["control:readings"]
    monkeypatch.undo()
    service.night(NINTH + timedelta(days=9))
    assert service.broken() == set()


def test_a_break_and_its_end_are_events_that_nobody_can_leave_out(service: Service, acme: Any) -> None:
    service.night(NINTH)
    service.measured()
    service.clock.forward(days=1)
    service.vault.usable()
    assert service.measured()["P1"] is Standing.BROKEN
    service.night(NINTH + timedelta(days=2))
    service.measured()
    told = Event.objects.filter(event__startswith="control:").order_by("number").values_list("event", "facts")
    assert [(event, facts["control"]) for event, facts in told] == [("control:broken", "nights"), ("control:kept", "nights")]
