"""Measuring: how each control stands since when, each hour's reading, a finding for each break; one that fails stops no other (P13)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit import controls, findings, grants
from audit.controls import Control, Flaw, Measured, judged, measuring
from audit.findings import Kind
from audit.models import ControlState, Event, Finding, Reading
from audit.promises import Standing
from audit.roles import Role

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Says = dict[str, Measured | Exception]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, acting: Any) -> Says:
    """What two controls say: `nights` and `copies`, both kept at first."""
    found: Says = {"nights": judged("0 lacking", value=0), "copies": judged("0 owed", value=0)}

    def control(name: str, promise: str) -> Control:
        def measure(now: datetime) -> Measured:
            said = found[name]
            if isinstance(said, Exception):
                raise said
            return said

        return Control(name, promise, name.title(), "broken from one on", "", measure, "admin:index")

    monkeypatch.setattr(controls, "_registered", {})
    controls.register(control("copies", "P3"))
    controls.register(control("nights", "P1"))
    return found


@pytest.fixture
def olga(acting: Any) -> User:
    """A backup operator."""
    user = User.objects.create_user("olga", password="pw")
    grants.grant_role(user, Role.BACKUP_OPERATOR, reason="a test", now=datetime.now(UTC))
    return user


def broken(figure: str = "2 of 3 lacking") -> Measured:
    return judged(figure, [Flaw(Standing.BROKEN, "2 are lacking.", "Make them.")], 2)


def states() -> dict[str, str]:
    return {control.name: row.state for control, row in measuring.states() if row is not None}


def test_what_is_measured_stands_in_the_order_of_the_promises(says: Says) -> None:
    assert [row for _, row in measuring.states()] == [None, None]
    assert {one.control.name for one in measuring.measure_all(NOON)} == {"nights", "copies"}
    assert list(states().items()) == [("nights", "kept"), ("copies", "kept")]


def test_since_when_moves_only_with_the_state(says: Says) -> None:
    measuring.measure_all(NOON)
    says["copies"] = judged("5 owed", value=5)
    assert measuring.measure_all(NOON + MINUTE) == []
    row = ControlState.objects.get(pk="copies")
    assert (row.since, row.measured_at, row.figure, row.value) == (NOON, NOON + MINUTE, "5 owed", 5)
    says["copies"] = broken()
    [changed] = measuring.measure_all(NOON + 2 * MINUTE)
    assert (changed.control.name, changed.before, changed.state.state) == ("copies", Standing.KEPT, "broken")
    assert (changed.before_since, changed.state.since) == (NOON, NOON + 2 * MINUTE)


def test_an_older_measurement_overwrites_none(says: Says) -> None:
    measuring.measure_all(NOON)
    says["copies"] = broken()
    assert measuring.measure_all(NOON - MINUTE) == []
    assert states()["copies"] == "kept" and ControlState.objects.get(pk="copies").measured_at == NOON


def test_a_control_that_is_gone_has_no_state(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring.measure_all(NOON)
    monkeypatch.delitem(controls._registered, "copies")
    measuring.measure_all(NOON + MINUTE)
    assert list(ControlState.objects.values_list("pk", flat=True)) == ["nights"]


def test_one_that_cannot_be_measured_stops_no_other_and_is_at_risk_after_ten_minutes(says: Says) -> None:
    measuring.measure_all(NOON)
    says["copies"] = RuntimeError("a customer's words")
    says["nights"] = judged("1 late", [Flaw(Standing.AT_RISK, "1 is late.")])
    measuring.measure_all(NOON + MINUTE)
    row = ControlState.objects.get(pk="copies")
    assert states() == {"nights": "at risk", "copies": "kept"}
    assert "RuntimeError" in row.trouble and "words" not in row.trouble and row.figure == "0 owed" and row.measured_at == NOON
    measuring.measure_all(NOON + 11 * MINUTE)
    assert states()["copies"] == "at risk"
    says["copies"] = judged("0 owed", value=0)
    measuring.measure_all(NOON + 12 * MINUTE)
    row.refresh_from_db()
    assert (row.state, row.trouble) == ("kept", "")


def test_one_that_was_never_measured_is_at_risk(says: Says) -> None:
    says["copies"] = RuntimeError()
    measuring.measure_all(NOON)
    row = ControlState.objects.get(pk="copies")
    assert (row.state, row.figure) == ("at risk", "never measured") and row.trouble
    assert measuring.standing_of(None, NOON) is Standing.AT_RISK


def test_what_nobody_measured_for_ten_minutes_counts_as_at_risk(says: Says) -> None:
    says["nights"] = broken()
    measuring.measure_all(NOON)
    rows = {control.name: row for control, row in measuring.states()}
    assert measuring.standing_of(rows["copies"], NOON + 10 * MINUTE) is Standing.KEPT
    assert measuring.standing_of(rows["copies"], NOON + 11 * MINUTE) is Standing.AT_RISK
    assert measuring.standing_of(rows["nights"], NOON + 11 * MINUTE) is Standing.BROKEN


def test_one_reading_an_hour_tells_the_worst_since_the_one_before(says: Says) -> None:
    measuring.measure_all(NOON + 5 * MINUTE)
    says["copies"] = broken()
    measuring.measure_all(NOON + 30 * MINUTE)
    says["copies"] = judged("0 owed", value=0)
    measuring.measure_all(NOON + 59 * MINUTE)
    assert Reading.objects.count() == 1
    measuring.measure_all(NOON + 61 * MINUTE)
    later, first = Reading.objects.order_by("-hour")
    assert (first.hour, first.at, later.hour, later.gap_since) == (NOON, NOON + 5 * MINUTE, NOON + timedelta(hours=1), None)
    assert first.controls["copies"]["worst"] == "kept"
    assert later.controls["copies"] == {
        "state": "kept",
        "worst": "broken",
        "figure": "0 owed",
        "value": 0,
        "threshold": "broken from one on",
        "why": "",
    }
    measuring.measure_all(NOON + 121 * MINUTE)
    assert Reading.objects.order_by("-hour")[0].controls["copies"]["worst"] == "kept"


def test_missing_hours_are_told_by_the_next_reading(says: Says) -> None:
    measuring.measure_all(NOON)
    measuring.measure_all(NOON + timedelta(hours=5))
    assert Reading.objects.order_by("-hour")[0].gap_since == NOON


def told() -> list[str]:
    return list(Event.objects.filter(event__startswith="control:").order_by("number").values_list("event", flat=True))


def test_a_break_is_an_event_and_one_finding_until_a_person_closes_it(says: Says, olga: User) -> None:
    measuring.measure_all(NOON)
    says["copies"] = broken()
    for minute in (1, 2, 3):
        measuring.measure_all(NOON + minute * MINUTE)
    finding = Finding.objects.get()
    assert (finding.kind, finding.subject, finding.is_open) == (Kind.CONTROL_BROKEN, "control:copies", True)
    assert "2 of 3 lacking" in finding.text and "Make them." in finding.text
    says["copies"] = judged("0 owed", value=0)
    measuring.measure_all(NOON + 8 * MINUTE)
    finding.refresh_from_db()
    assert finding.is_open and "2 of 3 lacking" in finding.text and "Kept again since 10 Mar 2026, 12:08 UTC" in finding.text
    assert told() == ["control:broken", "control:kept"]
    assert Event.objects.get(event="control:kept").facts == {"control": "copies", "seconds": 420, "value": "0"}
    findings.close(finding, cause="a cable", resolution="plugged in", by=olga, now=NOON + timedelta(days=1))
    measuring.measure_all(NOON + timedelta(days=1))
    assert Finding.objects.filter(kind=Kind.CONTROL_BROKEN, closed_at=None).count() == 0


def test_what_is_still_broken_is_opened_again(says: Says, olga: User) -> None:
    says["copies"] = broken()
    measuring.measure_all(NOON)
    findings.close(Finding.objects.get(), cause="?", resolution="nothing", by=olga, now=NOON)
    measuring.measure_all(NOON + MINUTE)
    assert findings.open_findings().get().subject == "control:copies" and told() == ["control:broken"]


def test_measuring_again_takes_no_more_statements_when_nothing_changed(says: Says, django_assert_num_queries: Callable[..., Any]) -> None:
    measuring.measure_all(NOON)
    with django_assert_num_queries(8):
        measuring.measure_all(NOON + MINUTE)
