"""One asks, another approves, and only what was asked for is done (P5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from audit import checks, grants, two_person
from audit.grants import grant_role
from audit.models import Event
from audit.roles import RIGHTS, Role, ensure_roles
from audit.states import NotAllowed
from audit.two_person import ApprovalRefused, PlanChanged, approve, cancel, executed, refuse, request
from tests.audit.reading import history, types
from tests.factory.models import DoorRequest

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=24)
PLAN = {"door": "north", "hours": 2}


@pytest.fixture
def people(acting: Any, db: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, User]:
    """Olga and Bo may ask and approve, Otto may not, Root is a superuser."""
    rights = ("factory.add_doorrequest", "factory.approve_doorrequest")
    monkeypatch.setitem(RIGHTS, Role.BACKUP_OPERATOR, (*RIGHTS[Role.BACKUP_OPERATOR], *rights))
    ensure_roles()
    found = {name: User.objects.create_user(name, password=f"of {name}") for name in ("olga", "bo", "otto")}
    for name, role in (("olga", Role.BACKUP_OPERATOR), ("bo", Role.BACKUP_OPERATOR), ("otto", Role.AUDITOR)):
        grant_role(found[name], role, reason="a test", now=NOW)
    return {**found, "root": User.objects.create_superuser("root", password="of root")}


@pytest.fixture
def asked(people: dict[str, User]) -> DoorRequest:
    return request(DoorRequest, by=people["olga"], what="open the north door", why="a delivery", plan=PLAN, now=NOW, door="north")


def approved(asked: DoorRequest, by: User, *, plan: Any = PLAN, password: str = "", now: datetime = LATER) -> DoorRequest:
    return approve(asked, by=by, password=password or f"of {by.username}", plan=plan, now=now)


def stored(asked: DoorRequest) -> DoorRequest:
    return DoorRequest._base_manager.get(pk=asked.pk)


def kinds() -> list[str]:
    return [event.event for event in Event.objects.exclude(event__startswith="grant:").order_by("number")]


def test_asked_approved_done(asked: DoorRequest, people: dict[str, User]) -> None:
    row = approved(asked, people["bo"])
    assert (row.state, row.approved_by, row.approved_at, row.requested_by) == ("approved", people["bo"], LATER, people["olga"])
    done = executed(row, plan=PLAN, now=LATER)
    assert (stored(done).state, stored(done).executed_at) == ("executed", LATER)
    assert types(DoorRequest) == "+~~"
    assert [row.history_actor for row in history(DoorRequest)] == ["olga", "bo", "ada"]
    assert kinds() == ["request:made", "request:approved", "request:executed"]
    assert Event.objects.get(event="request:approved").facts == {"kind": "factory.doorrequest", "plan": two_person.digest_of(PLAN)}


def test_who_asked_cannot_approve(asked: DoorRequest, people: dict[str, User]) -> None:
    with pytest.raises(ApprovalRefused) as refusal:
        approved(asked, people["olga"])
    assert refusal.value.why == "same-person"
    assert stored(asked).state == "requested"


def test_the_database_refuses_one_person_too(asked: DoorRequest, people: dict[str, User]) -> None:
    row = stored(asked)
    row.approved_by, row.state = people["olga"], "approved"
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()
    row = stored(asked)
    row.state = "approved"  # by nobody
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()


@pytest.mark.parametrize(("name", "why"), [("otto", "not-entitled"), ("root", "not-entitled")])
def test_neither_another_role_nor_a_superuser_approves(asked: DoorRequest, people: dict[str, User], name: str, why: str) -> None:
    with pytest.raises(ApprovalRefused) as refusal:
        approved(asked, people[name])
    assert refusal.value.why == why


def test_a_right_younger_than_a_day_does_not_approve(asked: DoorRequest, people: dict[str, User]) -> None:
    with pytest.raises(ApprovalRefused, match="less than 24 hours"):
        approved(asked, people["bo"], now=LATER - timedelta(seconds=1))


def test_the_password_is_asked_again_and_a_wrong_one_is_an_event(asked: DoorRequest, people: dict[str, User]) -> None:
    with pytest.raises(ApprovalRefused) as refusal:
        approved(asked, people["bo"], password="guess")
    told = Event.objects.get(event="approval:failed")
    assert (refusal.value.why, told.actor, told.facts["why"]) == ("password", "bo", "password")
    assert stored(asked).state == "requested"


def test_after_five_wrong_passwords_the_right_one_waits(asked: DoorRequest, people: dict[str, User]) -> None:
    for _ in range(two_person.MOST_FAILURES):
        with pytest.raises(ApprovalRefused, match="not your password"):
            approved(asked, people["bo"], password="guess")
    with pytest.raises(ApprovalRefused) as refusal:
        approved(asked, people["bo"])
    assert refusal.value.why == "locked"


def test_another_plan_voids_the_request(asked: DoorRequest, people: dict[str, User]) -> None:
    with pytest.raises(PlanChanged):
        approved(asked, people["bo"], plan={**PLAN, "hours": 3})
    assert (stored(asked).state, stored(asked).approved_by, stored(asked).ended_at) == ("void", None, LATER)
    with pytest.raises(NotAllowed, match="The request is void"):
        approved(asked, people["bo"])
    assert kinds() == ["request:made", "request:voided"]


def test_the_plan_is_canonical(asked: DoorRequest, people: dict[str, User]) -> None:
    assert approved(asked, people["bo"], plan={"hours": 2.0, "door": "north"}).state == "approved"


def test_a_plan_that_changed_after_the_approval_is_not_done(asked: DoorRequest, people: dict[str, User]) -> None:
    row = approved(asked, people["bo"])
    with pytest.raises(PlanChanged):
        executed(row, plan={}, now=LATER)
    assert stored(row).state == "approved"
    with pytest.raises(PlanChanged):
        two_person.check_plan(row, {}, LATER)
    assert (stored(row).state, stored(row).executed_at) == ("void", None)


def test_nothing_is_done_without_approval_nor_twice(asked: DoorRequest, people: dict[str, User]) -> None:
    with pytest.raises(NotAllowed):
        executed(asked, plan=PLAN, now=LATER)
    row = executed(approved(asked, people["bo"]), plan=PLAN, now=LATER)
    with pytest.raises(NotAllowed):
        executed(row, plan=PLAN, now=LATER)


def test_who_holds_an_old_copy_of_the_request_is_told(asked: DoorRequest, people: dict[str, User]) -> None:
    cancel(asked, by=people["olga"], why="no delivery", now=NOW)
    with pytest.raises(NotAllowed, match="The request is cancelled"):
        approved(asked, people["bo"])


def test_refusing(asked: DoorRequest, people: dict[str, User]) -> None:
    for name in ("olga", "otto"):
        with pytest.raises(ApprovalRefused):
            refuse(asked, by=people[name], why="no", now=NOW)
    row = refuse(asked, by=people["bo"], why="not today", now=NOW)
    assert (row.state, row.refused_by, row.ended_at) == ("refused", people["bo"], NOW)
    assert history(DoorRequest)[-1].history_change_reason == "not today"
    assert kinds()[-1] == "request:refused"


def test_one_person_is_enough_to_cancel_what_is_approved(asked: DoorRequest, people: dict[str, User]) -> None:
    row = approved(asked, people["bo"])
    with pytest.raises(ApprovalRefused):
        cancel(row, by=people["otto"], why="no", now=LATER)
    assert cancel(row, by=people["bo"], why="changed my mind", now=LATER).state == "cancelled"


def test_asking_takes_the_right_and_a_reason(people: dict[str, User]) -> None:
    about: dict[str, Any] = {"what": "x", "plan": PLAN, "now": NOW, "door": "north"}
    with pytest.raises(ApprovalRefused):
        request(DoorRequest, by=people["otto"], why="x", **about)
    with pytest.raises(ApprovalRefused, match="Say why"):
        request(DoorRequest, by=people["olga"], why=" ", **about)


def test_a_kind_without_the_constraint_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_requests(None) == []
    monkeypatch.setattr(DoorRequest._meta, "constraints", [])
    assert [found.id for found in checks.check_requests(None)] == ["l2l_audit.E016"]


def test_a_role_that_ended_approves_nothing(asked: DoorRequest, people: dict[str, User]) -> None:
    grants.end_role(people["bo"], Role.BACKUP_OPERATOR, reason="left", now=LATER)
    with pytest.raises(ApprovalRefused, match="no role"):
        approved(asked, people["bo"])
