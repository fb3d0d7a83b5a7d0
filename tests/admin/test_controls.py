"""A page for each control with its history and its breaks; the alarms, readings and anchors behind them: who sees what of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

import audit
from audit import controls, findings
from audit.models import Alarm, Anchor, Finding, Reading
from l2l.admin import standings
from tests.admin.conftest import Belongings, url
from tests.admin.measured import a_day, stand
from tests.admin.test_front_page import words

As = Callable[[str], Client]
NOW = datetime.now(UTC)
PAGE = "/controls/of-p3-too/"


@pytest.fixture
def broken(measured: Any) -> Finding:
    """P3's second control broke, and was before."""
    stand("of-p3-too", "broken", figure="2 things", value=2, why="vault lacks 2.", todo="Mend vault.")
    for back, state in ((0, "broken"), (1, "kept"), (2, "at risk"), (200, "broken")):
        a_day("of-p3-too", NOW.date() - timedelta(days=back), state, most=back)
    with audit.acting("worker", reason="a test"):
        about = {"customer": None, "text": "P3 broke: 2 things.", "now": NOW}
        return findings.open_finding(findings.Kind.CONTROL_BROKEN, subject="control:of-p3-too", **about)


def test_a_control_tells_how_it_stands_what_to_do_and_how_it_stood(as_: As, broken: Finding) -> None:
    page = as_("otto").get(PAGE)
    text = words(page)
    assert "2 things" in text and "vault lacks 2. Mend vault." in text
    assert "of-p3-too: at risk from 1, broken from 2" in text and "SOC 2 A1.2" in text
    assert "33.3 % kept 33.3 % at risk 33.3 % broken" in text
    assert page.context["month"].words.startswith("The last 30 days: kept on 1, at risk on 1")
    assert "not measured on 361" in page.context["year"].words
    drawn = json.loads(page.context["month_chart"])["datasets"][0]["data"]
    assert (len(drawn), drawn[:27], drawn[27:]) == (30, [None] * 27, [2.0, 1.0, 0.0])  # below the strip, day by day
    assert f"{url('location_changelist')}?in_force__exact=1" in page.content.decode()


def test_its_breaks_are_listed_with_cause_and_what_was_done(as_: As, broken: Finding, people: Any) -> None:
    assert "P3 broke: 2 things. nobody yet" in words(as_("otto").get(PAGE))
    with audit.acting("olga", reason="a test"):
        findings.close(broken, cause="a full disk", resolution="room was made", by=people["olga"], now=NOW)
    page = as_("otto").get(PAGE)
    assert "a full disk room was made olga" in words(page)
    assert reverse("admin:l2l_audit_finding_change", args=[broken.pk]) in page.content.decode()


def test_who_does_not_see_every_customer_sees_states_alone(as_: As, broken: Finding) -> None:
    for name in ("ada", "anna"):
        page = as_(name).get(PAGE)
        assert "33.3 % broken" in words(page) and page.context["month_chart"] == ""
        assert "2 things" not in words(page) and "vault" not in words(page) and "P3 broke" not in words(page)
        assert "vault" not in words(as_(name).get("/controls/"))


def test_all_controls_stand_under_their_promises(as_: As, broken: Finding) -> None:
    page = as_("otto").get("/controls/")
    assert len(page.context["rows"]) == 14
    assert "What of-p3-too counts broken" in words(page) and "Mend vault." in words(page)
    assert "/controls/of-p3/" in page.content.decode() and 'id="P14"' in page.content.decode()


def test_a_control_before_its_first_measurement(as_: As, fourteen: Any) -> None:
    text = words(as_("otto").get(PAGE))
    assert "It was not measured yet" in text and "No hour was kept yet." in text and "It was never broken" in text


def test_there_is_no_page_of_a_control_that_there_is_not_and_none_for_who_may_not_see_them(as_: As, measured: Any) -> None:
    assert as_("otto").get("/controls/nothing/").status_code == 404
    assert as_("nobody").get(PAGE).status_code == as_("nobody").get("/controls/").status_code == 403
    assert as_("otto").post(PAGE).status_code == as_("otto").post("/controls/").status_code == 405


def test_each_real_control_leads_to_a_page_that_answers_an_auditor(as_: As, own: Belongings) -> None:
    client = as_("otto")
    user = client.get("/").context["user"]
    for control in controls.all_controls():
        address = standings.evidence_of(control, user)
        assert address and client.get(address).status_code == 200, control.name
        assert client.get(f"/controls/{control.name}/").status_code == 200, control.name


# Alarms, readings, anchors


@pytest.fixture
def alarms(fourteen: Any) -> dict[str, Alarm]:
    about = {"state": "broken", "raised_at": NOW}
    return {
        "control": Alarm.objects.create(subject="control:of-p1", text="bolt lacks a night.", mailed_at=NOW, trouble="refused", **about),
        "finding": Alarm.objects.create(subject="finding:key-missing", text="bolt's key", ended_at=NOW, posted_at=NOW, **about),
        "measuring": Alarm.objects.create(subject="measuring", text="nothing measures", **about),
    }


def test_alarms_say_what_they_are_about_and_who_was_told(as_: As, alarms: dict[str, Alarm]) -> None:
    text = words(as_("otto").get(url("alarm_changelist")))
    assert "P1: What of-p1 counts" in text and "A customer's key is missing" in text
    assert "nobody yet" in text and "bolt lacks a night." in text
    shown = words(as_("otto").get(url("alarm_change", alarms["control"].pk)))
    assert "bolt lacks a night." in shown and "refused" in shown
    assert 'href="/controls/of-p1/"' in as_("otto").get(url("alarm_change", alarms["control"].pk)).content.decode()
    found = as_("otto").get(url("alarm_change", alarms["finding"].pk)).content.decode()
    assert f"{url('finding_changelist')}?standing=open&amp;kind=key-missing" in found
    found = as_("otto").get(url("alarm_changelist") + "?standing=untold").context["cl"].result_list
    assert [one.subject for one in found] == ["measuring"]


def test_alarms_of_findings_and_what_they_count_are_for_who_sees_every_customer(as_: As, alarms: dict[str, Alarm]) -> None:
    text = words(as_("ada").get(url("alarm_changelist")))
    assert "P1: What of-p1 counts" in text and "bolt" not in text and "refused" not in text and "key is missing" not in text
    assert "bolt" not in words(as_("ada").get(url("alarm_change", alarms["control"].pk)))
    assert as_("ada").get(url("alarm_change", alarms["finding"].pk)).status_code == 302


@pytest.mark.parametrize("lookup", ["text__startswith=bolt", "todo__contains=b", "trouble__gt=a", "attempts__gt=0"])
def test_what_a_person_may_not_read_they_may_not_filter_by(as_: As, alarms: dict[str, Alarm], lookup: str) -> None:
    page = f"{url('alarm_changelist')}?{lookup}"
    assert as_("ada").get(page).status_code == 400 and as_("otto").get(page).status_code == 200
    assert len(as_("ada").get(url("alarm_changelist") + "?standing=open&state__exact=broken").context["cl"].result_list) == 1


@pytest.mark.parametrize("page", ["alarm", "reading", "anchor"])
def test_each_empty_list_says_where_its_rows_come_from(page: str, as_: As) -> None:
    assert "There is none" in words(as_("otto").get(url(f"{page}_changelist")))


def test_a_reading_shows_its_controls_and_the_hours_before_it_that_are_missing(as_: As, measured: Any) -> None:
    hour = NOW.replace(minute=0, second=0, microsecond=0)
    told = {"of-p1": {"state": "broken", "figure": "bolt"}, "of-p2": {"state": "kept", "figure": "x"}}
    with audit.acting("worker", reason="a test"):
        reading = Reading.objects.create(hour=hour, at=hour, gap_since=hour - timedelta(hours=5), controls=told, software="1")
    text = words(as_("otto").get(url("reading_changelist")))
    assert "1 of 2" in text and "of-p1" in text and f"since {hour - timedelta(hours=5):%-d %b, %H:00} UTC" in text
    assert "bolt" in words(as_("otto").get(url("reading_change", reading.pk)))


def test_an_auditor_downloads_the_signed_text_of_a_day_as_it_is_stored(as_: As, db: None) -> None:
    document = {"root": "ab" * 32, "day": "2026-03-01"}
    with audit.acting("worker", reason="a test"):
        anchor = Anchor.objects.create(day=NOW.date(), at=NOW, root="ab" * 32, heads="x 1 y", document=document)
    address = reverse("admin:l2l_audit_anchor_document", args=[anchor.pk])
    assert address in as_("otto").get(url("anchor_changelist")).content.decode()
    answer = as_("otto").get(address)
    assert json.loads(answer.content) == document and answer["Content-Disposition"].startswith("attachment")
    assert as_("olga").get(address).status_code == 403
