"""The policy's pages: what if, asked for by one, approved by another with the password (P5, P6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

import audit
from audit import two_person
from audit.grants import grant_role
from audit.models import Event
from audit.roles import Role
from backups.models import BackupPolicy, PolicyChangeRequest
from backups.policies import change_policy, ensure_first_policy
from backups.policy_requests import plan_of
from tests.admin.conftest import url

As = Callable[[str], Client]


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Olga, rita and a second operator have had their roles for a month."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    people["oskar"] = User.objects.create_user("oskar", password="pw", is_staff=True)
    since = datetime.now(UTC) - timedelta(days=30)
    with audit.acting("setup", reason="a test"):
        for name, role in (("olga", Role.BACKUP_OPERATOR), ("oskar", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
            people[name].groups.clear()
            grant_role(people[name], role, reason="a test", now=datetime.now(UTC), since=since)
    return people


def form(**changes: Any) -> dict[str, Any]:
    newest = BackupPolicy.objects.order_by("-number")[0]
    names = ("zone", "max_attempts", "retry_minutes", "nightly_days", "weekly_weeks", "longest_years", "test_days", "tests_a_night")
    return {name: getattr(newest, name) for name in names} | {"night_starts": "22:00", "why": "the disk is short"} | changes


def ask(client: Client, **changes: Any) -> PolicyChangeRequest:
    response = client.post(url("policychangerequest_add"), form(**changes, _ask="1"), follow=True)
    asked = PolicyChangeRequest.objects.get(state="requested")
    assert response.redirect_chain[-1][0] == url("policychangerequest_change", asked.pk)
    return asked


def approve(client: Client, asked: PolicyChangeRequest, password: str = "pw") -> Any:
    return client.post(url("policychangerequest_approve", asked.pk), {"password": password}, follow=True)


def test_what_if_shows_the_difference_and_stores_nothing(as_: As, ripe: dict[str, User]) -> None:
    response = as_("olga").post(url("policychangerequest_add"), form(nightly_days=21, night_starts="23:30", _what_if="1"))
    page = response.content.decode()
    assert "less than now" in page and "a week after its approval" in page and "23:30 UTC" in page
    assert response.context["differences"] == [("night's start", "22:00", "23:30", False), ("nightly sets, days", "28", "21", True)]
    assert not PolicyChangeRequest.objects.exists() and BackupPolicy.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Nothing would change"),
        ({"zone": "Europe/Nowhere"}, "not one of the available choices"),
        ({"retry_minutes": "1, 5"}, "Whole minutes, separated by single spaces"),
        ({"nightly_days": 0}, "greater than or equal to 1"),
        ({"why": " ", "nightly_days": 30}, "This field is required"),
    ],
)
def test_what_does_not_fit_is_said(as_: As, ripe: dict[str, User], changes: dict[str, Any], said: str) -> None:
    assert said in as_("olga").post(url("policychangerequest_add"), form(**changes, _ask="1")).content.decode()
    assert not PolicyChangeRequest.objects.exists()


def test_asked_by_one_approved_by_another(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    assert "olga asks to change the backup policy" in as_("rita").get("/").content.decode()
    page = approve(as_("rita"), asked).content.decode()
    assert "version 2 of the policy is in force from" in page and "executed" in page
    version = BackupPolicy.objects.get(number=2)
    assert (version.nightly_days, version.made_by, version.approved_by, version.reason) == (60, "olga", "rita", "the disk is short")
    listed = as_("otto").get(url("backuppolicy_changelist")).content.decode()
    assert "in force" in listed and "replaced" in listed


def test_who_asked_cannot_approve_and_is_told(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    page = as_("olga").get(url("policychangerequest_change", asked.pk)).content.decode()
    assert "It waits for another person" in page and url("policychangerequest_approve", asked.pk) not in page
    assert as_("olga").post(url("policychangerequest_approve", asked.pk), {"password": "pw"}).status_code == 403
    assert BackupPolicy.objects.count() == 1


def test_a_wrong_password_approves_nothing_and_is_on_record(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    assert "That is not your password" in approve(as_("rita"), asked, "wrong").content.decode()
    assert BackupPolicy.objects.count() == 1
    assert Event.objects.get(event="approval:failed").facts["why"] == "password"
    for _ in range(4):
        approve(as_("rita"), asked, "wrong")
    assert "wait a quarter of an hour" in approve(as_("rita"), asked).content.decode()


def test_a_right_of_today_approves_nothing_and_the_page_says_so(as_: As, ripe: dict[str, User], people: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    with audit.acting("setup", reason="a test"):
        grant_role(people["anna"], Role.RECEIPT_APPROVER, reason="she helps out", now=datetime.now(UTC))
    assert "less than 24 hours" in as_("anna").get(url("policychangerequest_change", asked.pk)).content.decode()
    assert "less than 24 hours" in approve(as_("anna"), asked).content.decode()
    assert BackupPolicy.objects.count() == 1


def test_another_version_meanwhile_voids_the_request(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    with audit.acting("oskar", reason="more tries"):
        change_policy(reason="more tries", max_attempts=9)
    assert "The request is void" in approve(as_("rita"), asked).content.decode()
    assert PolicyChangeRequest.objects.get().state == "void"
    assert as_("rita").get(url("policychangerequest_approve", asked.pk)).status_code == 403


def test_what_was_approved_before_a_crash_is_carried_out_afterwards(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    plan = plan_of(asked.changes)
    two_person.approve(asked, by=ripe["rita"], password="pw", plan=plan, now=datetime.now(UTC))  # and then the process died
    page = url("policychangerequest_finish", asked.pk)
    assert page in as_("olga").get(url("policychangerequest_change", asked.pk)).content.decode()
    assert as_("otto").post(page).status_code == 403
    assert "version 2 of the policy is in force from" in as_("olga").post(page, follow=True).content.decode()
    assert as_("olga").post(page).status_code == 403 and BackupPolicy.objects.count() == 2


def test_refused_by_another_cancelled_by_who_asked(as_: As, ripe: dict[str, User]) -> None:
    asked = ask(as_("olga"), nightly_days=60)
    assert "The request is refused" in _end(as_("oskar"), asked, "refuse")
    again = ask(as_("olga"), nightly_days=61)
    assert "The request is cancelled" in _end(as_("olga"), again, "cancel")
    assert [one.state for one in PolicyChangeRequest.objects.order_by("requested_at")] == ["refused", "cancelled"]
    assert BackupPolicy.objects.count() == 1


def _end(client: Client, asked: PolicyChangeRequest, how: str) -> str:
    return client.post(url(f"policychangerequest_{how}", asked.pk), {"reason": "not now"}, follow=True).content.decode()
