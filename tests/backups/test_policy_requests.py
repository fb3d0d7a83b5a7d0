"""The policy is changed by two people, and what keeps less begins a week later (P5, P6)."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from audit.grants import grant_role
from audit.models import Event
from audit.roles import Role
from audit.states import NotAllowed
from audit.two_person import ApprovalRefused, PlanChanged, cancel
from backups.models import BackupPolicy, PolicyChangeRequest
from backups.policies import change_policy, ensure_first_policy, versions
from backups.policy import in_force
from backups.policy_requests import approve_change, make_version, plan_of, request_change

# After the first version, which each test makes at its own beginning.
NOW = datetime.now(UTC) + timedelta(minutes=10)


@pytest.fixture
def people(acting: Any, db: None, settings: Any) -> dict[str, User]:
    """An operator, who asks, and a receipt approver; both for a long time."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    found = {name: User.objects.create_user(name, password="pw") for name in ("olga", "rita")}
    for name, role in (("olga", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
        grant_role(found[name], role, reason="a test", now=NOW, since=NOW - timedelta(days=30))
    return found


def ask(people: dict[str, User], **changes: Any) -> PolicyChangeRequest:
    return request_change(by=people["olga"], why="the auditor asked", now=NOW, **changes)


def approve(asked: PolicyChangeRequest, people: dict[str, User], name: str = "rita") -> BackupPolicy:
    return approve_change(asked, by=people[name], password="pw", now=NOW)


def test_a_longer_period_is_in_force_at_once(people: dict[str, User]) -> None:
    asked = ask(people, nightly_days=60, night_starts=time(23, 30))
    assert asked.what == "night's start: 22:00 → 23:30; nightly sets, days: 28 → 60"
    version = approve(asked, people)
    assert (version.number, version.nightly_days, version.night_starts) == (2, 60, time(23, 30))
    assert (version.made_by, version.approved_by, version.reason) == ("olga", "rita", "the auditor asked")
    assert version.in_force_from - NOW < timedelta(minutes=1)
    assert PolicyChangeRequest.objects.get().state == "executed"
    assert Event.objects.get(event="policy:changed").facts == {"approved_by": "rita", "version": 2}


def test_a_shorter_period_begins_a_week_later(people: dict[str, User]) -> None:
    assert approve(ask(people, nightly_days=14), people).in_force_from == NOW + timedelta(days=7)


def test_a_shorter_period_is_taken_back_before_it_begins(people: dict[str, User]) -> None:
    shorter = approve(ask(people, nightly_days=14), people)
    again = approve(ask(people, nightly_days=28), people)
    assert again.in_force_from == shorter.in_force_from
    assert in_force(versions(), shorter.in_force_from).nightly_days == 28


def test_who_asked_does_not_approve(people: dict[str, User]) -> None:
    with pytest.raises(ApprovalRefused):
        approve(ask(people, nightly_days=14), people, "olga")
    assert BackupPolicy.objects.count() == 1


def test_another_version_meanwhile_voids_the_request(people: dict[str, User]) -> None:
    asked = ask(people, nightly_days=60)
    change_policy(reason="more tries", max_attempts=9)
    with pytest.raises(PlanChanged):
        approve(asked, people)
    assert PolicyChangeRequest.objects.get().state == "void"


def test_a_version_is_made_once_and_only_of_what_is_approved(people: dict[str, User]) -> None:
    asked = ask(people, nightly_days=60)
    with pytest.raises(NotAllowed):
        make_version(asked, now=NOW)
    cancel(asked, by=people["olga"], why="not needed", now=NOW)
    with pytest.raises(NotAllowed):
        approve(asked, people)
    assert BackupPolicy.objects.count() == 1


def test_values_that_do_not_fit_are_refused_when_asked_for(people: dict[str, User]) -> None:
    with pytest.raises(ValidationError):
        ask(people, zone="Europe/Nowhere")


def test_the_plan_names_the_version_that_it_follows(people: dict[str, User]) -> None:
    change = {"name": "nightly_days", "old": 28, "new": 14, "shorter": True}
    assert plan_of({"nightly_days": 14}) == {"after_version": 1, "changes": [change]}
