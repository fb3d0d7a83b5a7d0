"""Users and their roles: given and ended on pages of their own, each an event; nobody rises by a form (P5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

import audit
from audit.grants import grant_role, why_not
from audit.models import Event, Grant
from audit.roles import Role
from tests.admin.conftest import form_of, url

As = Callable[[str], Client]
APPROVES = "l2l_backups.approve_policychangerequest"


@pytest.fixture
def grace(people: dict[str, User]) -> User:
    return User.objects.create_user("grace", password="pw")


def give(client: Client, user: User, role: Role = Role.AUDITOR, **more: str) -> Any:
    sent = {"user": str(user.pk), "role": role.value, "change_reason": "joined the team", **more}
    return client.post(url("grant_add"), sent, follow=True)


def told(event: str) -> Event:
    return Event.objects.filter(event=event).latest("number")


def test_a_role_is_given_by_a_form_and_ended_by_another(as_: As, grace: User) -> None:
    assert give(as_("anna"), grace).status_code == 200
    grant = Grant.objects.get(user=grace)
    assert (grant.role, grant.by, grant.history.get().history_change_reason) == ("auditor", "anna", "joined the team")
    assert [group.name for group in User.objects.get(pk=grace.pk).groups.all()] == ["auditor"]
    assert told("grant:given").actor == "anna"
    page = as_("anna").get(url("grant_change", grant.pk)).content.decode()
    assert url("grant_end", grant.pk) in page
    ended = as_("anna").post(url("grant_end", grant.pk), {"reason": "left"}, follow=True).content.decode()
    assert "auditor of grace ended" in ended and url("grant_end", grant.pk) not in ended
    assert not User.objects.get(pk=grace.pk).groups.exists() and told("grant:ended").actor == "anna"


def test_what_the_verb_refuses_comes_back_as_an_error_of_the_form(as_: As, people: dict[str, User], grace: User) -> None:
    assert "Nobody gives a role to themselves" in give(as_("anna"), people["anna"]).content.decode()
    give(as_("anna"), grace)
    assert "grace is auditor already" in give(as_("anna"), grace).content.decode()
    assert "This field is required" in give(as_("anna"), grace, Role.BACKUP_OPERATOR, change_reason=" ").content.decode()
    yesterday = {"until_0": f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}", "until_1": "12:00"}
    assert "end before it begins" in give(as_("anna"), grace, Role.BACKUP_OPERATOR, **yesterday).content.decode()
    assert Grant.objects.count() == 1


@pytest.mark.parametrize("name", ["ada", "olga", "otto", "rita"])
def test_only_an_administrator_gives_and_ends(name: str, as_: As, grace: User) -> None:
    give(as_("anna"), grace)
    grant = Grant.objects.get()
    assert give(as_(name), grace, Role.BACKUP_OPERATOR).status_code == 403
    assert as_(name).post(url("grant_end", grant.pk), {"reason": "x"}).status_code == 403
    assert Grant.objects.get().ended_at is None


def test_no_form_puts_anybody_into_a_group_or_into_the_admin(as_: As, people: dict[str, User], grace: User) -> None:
    page = url("user_change", grace.pk)
    auditors = Group.objects.get(name="auditor")
    for name in ("anna", "root"):
        sent = form_of(as_(name), page, groups=[str(auditors.pk)], is_staff="on")
        assert as_(name).post(page, sent).status_code == 302
        assert not User.objects.get(pk=grace.pk).groups.exists() and not User.objects.get(pk=grace.pk).is_staff
        assert as_(name).post(url("group_change", auditors.pk), {"name": "auditor"}).status_code == 403


def test_a_new_user_one_shut_out_and_a_new_superuser_are_on_record(as_: As, grace: User) -> None:
    sent = {"username": "heidi", "password1": "a long pass phrase 7", "password2": "a long pass phrase 7", "usable_password": "true"}
    assert as_("anna").post(url("user_add"), sent).status_code == 302
    assert told("person:added").facts == {"person": "heidi"} and told("person:added").actor == "anna"
    page = url("user_change", grace.pk)
    as_("anna").post(page, {**form_of(as_("anna"), page), "is_active": ""})
    assert told("person:changed").facts == {"active": 0, "person": "grace", "superuser": 0}
    as_("root").post(page, form_of(as_("root"), page, is_superuser="on"))
    assert told("person:changed").facts["superuser"] == 1 and told("person:changed").actor == "root"


def test_a_password_that_another_set_approves_nothing_for_a_day(as_: As, grace: User, settings: Any) -> None:
    settings.L2L_SAMPLE = True
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        grant_role(grace, Role.RECEIPT_APPROVER, reason="a test", now=now, since=now - timedelta(days=30))
    assert why_not(grace, APPROVES, now) == ""
    new = {"password1": "a long pass phrase 7", "password2": "a long pass phrase 7", "usable_password": "true"}
    assert as_("anna").post(f"/auth/user/{grace.pk}/password/", new).status_code == 302
    assert (told("person:password-set").actor, told("person:password-set").facts) == ("anna", {"person": "grace"})
    assert "Somebody else set the password of grace" in why_not(grace, APPROVES, datetime.now(UTC))
    assert why_not(grace, APPROVES, datetime.now(UTC) + timedelta(hours=25)) == ""


def test_ones_own_new_password_is_on_record_and_hinders_nothing(people: dict[str, User], settings: Any) -> None:
    settings.L2L_SAMPLE = True
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        grant_role(people["nobody"], Role.RECEIPT_APPROVER, reason="a test", now=now, since=now - timedelta(days=30))
    client = Client()
    client.force_login(people["nobody"])
    new = {"old_password": "pw", "new_password1": "a long pass phrase 7", "new_password2": "a long pass phrase 7"}
    assert client.post("/password_change/", new).status_code == 302
    assert told("person:password-set").actor == "nobody"
    assert why_not(people["nobody"], APPROVES, datetime.now(UTC)) == ""


def test_signing_in_tells_of_no_new_password(people: dict[str, User]) -> None:
    assert Client().login(username="ada", password="pw")
    assert not Event.objects.filter(event="person:password-set").exists()
