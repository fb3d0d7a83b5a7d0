"""Roles are given and ended by grants alone, by somebody else, and approve nothing on their first day (P5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import IntegrityError, transaction

import audit
from audit import actors, checks, grants
from audit.grants import GrantRefused, end_role, expire_grants, grant_role, may_approve, why_not
from audit.models import Event, Grant
from audit.roles import RIGHTS, Role, by_word, ensure_roles
from tests.audit.reading import types

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
SEES_SETS = "l2l_backups.view_backupset"


@pytest.fixture
def grace(acting: Any, db: None) -> User:
    return User.objects.create_user("grace", password="pw")


def give(user: User, role: Role = Role.AUDITOR, **about: Any) -> Grant:
    return grant_role(user, role, reason="she asked", now=NOW, **about)


def groups(user: User) -> set[str]:
    return set(User.objects.get(pk=user.pk).groups.values_list("name", flat=True))


def test_a_grant_sets_the_group_opens_the_admin_and_is_tracked_and_told(grace: User) -> None:
    grant = give(grace)
    assert groups(grace) == {"auditor"} and User.objects.get(pk=grace.pk).is_staff
    assert User.objects.get(pk=grace.pk).has_perm(SEES_SETS)
    assert (grant.by, grant.since, grant.until, types(Grant)) == ("ada", NOW, None, "+")
    told = Event.objects.get(event="grant:given")
    assert told.facts == {"person": "grace", "role": "auditor", "since": "2026-03-01T12:00:00+00:00"}
    assert (told.subject, told.actor) == (f"l2l_audit.grant:{grant.pk}", "ada")
    assert grant.history.get().history_change_reason == "she asked"


def test_an_end_takes_the_group_and_the_admin_away(grace: User) -> None:
    give(grace)
    give(grace, Role.BACKUP_OPERATOR)
    assert end_role(grace, Role.AUDITOR, reason="left the team", now=NOW + DAY).ended_by == "ada"
    assert groups(grace) == {"backup operator"} and User.objects.get(pk=grace.pk).is_staff
    end_role(grace, Role.BACKUP_OPERATOR, reason="left", now=NOW + DAY)
    assert groups(grace) == set() and not User.objects.get(pk=grace.pk).is_staff
    assert Event.objects.filter(event="grant:ended").count() == 2


def test_nobody_gives_a_role_to_themselves(grace: User) -> None:
    with audit.acting(actors.of_user(grace)), pytest.raises(GrantRefused, match="themselves"):
        give(grace)
    assert groups(grace) == set()


@pytest.mark.parametrize("about", [{"since": NOW - DAY}, {"since": NOW + DAY}, {"until": NOW}, {"until": NOW - DAY}])
def test_dates_that_are_refused(grace: User, about: dict[str, Any]) -> None:
    with pytest.raises(GrantRefused):
        give(grace, **about)


def test_only_a_sample_home_dates_a_role_back(grace: User, settings: Any) -> None:
    settings.L2L_SAMPLE = True
    assert give(grace, since=NOW - DAY).since == NOW - DAY
    with pytest.raises(GrantRefused):
        give(grace, Role.BACKUP_OPERATOR, since=NOW + DAY)


def test_what_is_given_is_not_given_twice_and_what_is_not_is_not_ended(grace: User) -> None:
    give(grace)
    with pytest.raises(GrantRefused, match="already"):
        give(grace)
    with pytest.raises(GrantRefused, match="is no backup operator"):
        end_role(grace, Role.BACKUP_OPERATOR, reason="x", now=NOW)
    with pytest.raises(IntegrityError), transaction.atomic():
        Grant.objects.create(user=grace, role="auditor", since=NOW, by="x")


def test_nobody_deactivated_gets_a_role(grace: User) -> None:
    grace.is_active = False
    with pytest.raises(GrantRefused, match="deactivated"):
        give(grace)


def test_a_role_whose_time_is_over_is_taken_away(grace: User) -> None:
    give(grace, until=NOW + DAY)
    give(grace, Role.BACKUP_OPERATOR)
    assert expire_grants(NOW + DAY - timedelta(seconds=1)) == []
    assert [grant.role for grant in expire_grants(NOW + DAY)] == ["auditor"]
    assert expire_grants(NOW + DAY) == []
    assert groups(grace) == {"backup operator"}
    assert Event.objects.get(event="grant:ended").facts == {"expired": True, "person": "grace", "role": "auditor"}


def test_a_right_approves_after_a_day(grace: User) -> None:
    assert "no role" in why_not(grace, SEES_SETS, NOW)
    give(grace)
    assert "less than 24 hours" in why_not(grace, SEES_SETS, NOW + DAY - timedelta(seconds=1))
    assert may_approve(grace, SEES_SETS, NOW + DAY)
    assert not may_approve(grace, "auth.add_user", NOW + DAY)
    end_role(grace, Role.AUDITOR, reason="x", now=NOW + DAY)
    assert not may_approve(grace, SEES_SETS, NOW + DAY)


def test_a_role_given_again_is_young_again(grace: User) -> None:
    give(grace)
    end_role(grace, Role.AUDITOR, reason="x", now=NOW + DAY)
    grant_role(grace, Role.AUDITOR, reason="y", now=NOW + DAY)
    assert not may_approve(grace, SEES_SETS, NOW + DAY)


def test_a_role_that_is_over_approves_nothing_even_before_it_is_taken_away(grace: User) -> None:
    give(grace, until=NOW + 2 * DAY)
    assert may_approve(grace, SEES_SETS, NOW + DAY)
    assert not may_approve(grace, SEES_SETS, NOW + 2 * DAY)


def test_a_superuser_and_who_is_deactivated_approve_nothing(grace: User) -> None:
    assert not may_approve(User.objects.create_superuser("root"), SEES_SETS, NOW)
    give(grace)
    grace.is_active = False
    assert not may_approve(grace, SEES_SETS, NOW + DAY)


def test_rights_without_a_grant_are_found(grace: User) -> None:
    give(grace)
    assert list(grants.ungranted()) == []
    User.objects.create_superuser("root")
    grace.groups.add(Group.objects.get(name="administrator"))
    grace.user_permissions.add(Permission.objects.get(codename="delete_user"))
    assert [str(one) for one in grants.ungranted()] == [
        "grace has the right delete_user without a grant",
        "grace is in the group 'administrator' without a grant",
        "root is a superuser: every right, without a grant",
    ]
    assert {found.id for found in checks.check_grants(None, databases=["default"])} == {"l2l_audit.W017"}
    assert checks.check_grants(None) == []


def test_a_grant_takes_away_what_was_set_by_hand(grace: User) -> None:
    ensure_roles()
    grace.groups.add(Group.objects.get(name="administrator"))
    give(grace)
    assert groups(grace) == {"auditor"}


def test_every_role_has_rights_that_exist(db: None) -> None:
    assert {group.name for group in ensure_roles()} == {role.value for role in Role} == set(RIGHTS)


def test_an_administrator_has_no_power_over_data() -> None:
    assert {right.partition(".")[0] for right in RIGHTS[Role.ADMINISTRATOR]} == {"auth", "l2l_audit", "django_q"}
    assert [right for right in RIGHTS[Role.AUDITOR] if ".view_" not in right] == ["l2l_audit.add_evidencepack"]


def test_a_role_by_its_word() -> None:
    assert {by_word(text) for text in ("backup_operator", "backup-operator", "Backup operator")} == {Role.BACKUP_OPERATOR}
    with pytest.raises(ValueError, match="account_manager, receipt_approver"):
        by_word("king")
