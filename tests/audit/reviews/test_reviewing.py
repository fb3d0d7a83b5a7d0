"""Each quarter two people look at who may do what, and somebody speaks for what no program can list (P5)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User

import audit
from audit.errors import BypassRefused
from audit.grants import end_role, grant_role
from audit.models import AccessReview, Attestation, Event, Finding
from audit.reviews import reviewing
from audit.reviews.quarters import named, quarter_of
from audit.reviews.reviewing import ReviewRefused
from audit.reviews.rights import differences, digest_of, documents, rights_now
from audit.roles import Role, ensure_roles

LOCATIONS = ["primary", "offsite"]


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def people(acting: Any, db: None, now: datetime) -> dict[str, User]:
    ensure_roles()
    found = {}
    for name, role in (("anna", Role.ADMINISTRATOR), ("rita", Role.RECEIPT_APPROVER), ("olga", Role.BACKUP_OPERATOR)):
        found[name] = User.objects.create_user(name, first_name=name.capitalize())
        grant_role(found[name], role, reason="joined", now=now)
    return {name: User.objects.get(pk=user.pk) for name, user in found.items()}


def sign_off(by: User, now: datetime, quarter: str = "", seen: str = "") -> AccessReview:
    seen = seen or digest_of(documents(rights_now(now)))
    return reviewing.sign_off(
        by=by, quarter=named(quarter) if quarter else quarter_of(now), seen=seen, remarks=" all needed ", locations=LOCATIONS, now=now
    )


def attest_all(by: User, now: datetime, quarter: str = "") -> None:
    for about, location in (("bucket", "primary"), ("bucket", "offsite"), ("database", ""), ("keys", "")):
        attest(by, about, location, now, quarter)


def attest(by: User, about: str, location: str, now: datetime, quarter: str = "") -> Attestation:
    when = named(quarter) if quarter else quarter_of(now)
    return reviewing.attest(about, location, people="olga, by the provider's list", by=by, quarter=when, locations=LOCATIONS, now=now)


def told(name: str) -> list[dict[str, Any]]:
    return list(Event.objects.filter(event=name).order_by("number").values_list("facts", flat=True))


def test_the_rights_say_who_has_what_since_when_by_whom(people: dict[str, User], now: datetime) -> None:
    grant_role(people["olga"], Role.AUDITOR, reason="x", now=now, until=now + timedelta(days=3))
    rita, olga = (next(one for one in rights_now(now) if one.person == name) for name in ("rita", "olga"))
    assert [(held.role, held.by, bool(held.until)) for held in olga.roles] == [("auditor", "ada", True), ("backup operator", "ada", False)]
    assert (rita.name, rita.approves, rita.destroys, olga.approves, olga.destroys) == ("Rita", True, True, True, False)


def test_people_who_are_shut_out_are_seen_as_long_as_they_would_have_rights(people: dict[str, User], now: datetime) -> None:
    for user in people.values():
        User.objects.filter(pk=user.pk).update(is_active=False)
    User.objects.create_user("gone", is_active=False)
    User.objects.create_superuser("root", is_active=False)
    User.objects.create_user("new")
    seen = {one.person: one for one in rights_now(now)}
    assert seen.keys() == {"anna", "new", "olga", "rita", "root"}
    assert not seen["rita"].approves and not seen["rita"].destroys and seen["root"].superuser


def test_rights_beside_the_grants_stand_there_too(people: dict[str, User], now: datetime) -> None:
    people["olga"].user_permissions.add(Permission.objects.get(codename="delete_user"))
    people["olga"].groups.add(Group.objects.get(name="auditor"))
    (olga,) = (one for one in rights_now(now) if one.person == "olga")
    assert olga.beyond == ("has the right delete_user without a grant", "is in the group 'auditor' without a grant")


def test_the_number_of_statements_does_not_grow_with_the_people(
    people: dict[str, User], now: datetime, django_assert_num_queries: Any
) -> None:
    for number in range(20):
        grant_role(User.objects.create_user(f"p{number}"), Role.AUDITOR, reason="x", now=now)
    with django_assert_num_queries(4):
        assert len(rights_now(now)) == 23


def test_a_quarter_is_reviewed_when_everybody_was_seen_by_somebody_else(people: dict[str, User], now: datetime) -> None:
    first = sign_off(people["anna"], now)
    assert (first.remarks, first.signed_off_by, [one["person"] for one in first.rights]) == ("all needed", "anna", ["anna", "olga", "rita"])
    half = reviewing.duty(quarter_of(now), LOCATIONS)
    assert (half.reviewed, half.unseen) == (False, ("anna",)) and "nobody else confirmed the rights of anna" in half.lacking
    sign_off(people["anna"], now + timedelta(minutes=1))  # once more does not help
    assert not reviewing.duty(quarter_of(now), LOCATIONS).reviewed
    sign_off(people["rita"], now + timedelta(minutes=2))
    assert reviewing.duty(quarter_of(now), LOCATIONS).reviewed
    assert told("access:reviewed")[0] == {"people": 3, "quarter": str(quarter_of(now)), "sha256": first.digest}


def test_what_is_signed_off_is_what_was_seen(people: dict[str, User], now: datetime) -> None:
    seen = digest_of(documents(rights_now(now)))
    end_role(people["olga"], Role.BACKUP_OPERATOR, reason="left", now=now)
    with pytest.raises(ReviewRefused, match="changed after you opened the page"):
        sign_off(people["anna"], now, seen=seen)
    assert not AccessReview.objects.exists() and told("access:reviewed") == []


def test_somebody_who_signs_in_meanwhile_changes_no_right(people: dict[str, User], now: datetime) -> None:
    seen = digest_of(documents(rights_now(now)))
    User.objects.filter(username="olga").update(last_login=now)
    review = sign_off(people["anna"], now, seen=seen)
    assert next(one["last_sign_in"] for one in review.rights if one["person"] == "olga") == now.isoformat(timespec="seconds")


def test_only_whoever_has_the_right_signs_off_or_attests(people: dict[str, User], now: datetime) -> None:
    with pytest.raises(ReviewRefused, match=r"needs the right l2l_audit\.sign_off_accessreview"):
        sign_off(people["olga"], now)
    with pytest.raises(ReviewRefused, match=r"needs the right l2l_audit\.add_attestation"):
        attest(people["rita"], "keys", "", now)


def test_a_quarter_that_is_to_come_or_long_over_cannot_be_reviewed(people: dict[str, User], now: datetime) -> None:
    for quarter in (quarter_of(now).next, quarter_of(now).before):  # before this installation began
        with pytest.raises(ReviewRefused, match=f"is not open: what may be reviewed now is {quarter_of(now)}"):
            sign_off(people["anna"], now, quarter=str(quarter))
    assert sign_off(people["anna"], late(now), quarter=str(quarter_of(now))).quarter == str(quarter_of(now))
    with pytest.raises(ReviewRefused, match="is not open"):
        sign_off(people["anna"], late(now, 90), quarter=str(quarter_of(now)))


def test_what_is_attested_is_there_and_somebody_is_named(people: dict[str, User], now: datetime) -> None:
    for about, location, why in (
        ("bucket", "", "A bucket is named by its location"),
        ("keys", "primary", "A bucket is named by its location"),
        ("bucket", "attic", "There is no location attic in force; there are primary, offsite"),
        ("moon", "", "Attest one of bucket, database, keys"),
    ):
        with pytest.raises(ReviewRefused, match=why):
            attest(people["olga"], about, location, now)
    with pytest.raises(ReviewRefused, match="Say who can reach it"):
        reviewing.attest("keys", "", people=" ", by=people["olga"], quarter=quarter_of(now), locations=LOCATIONS, now=now)
    attest(people["olga"], "bucket", "offsite", now)
    assert reviewing.duty(quarter_of(now), LOCATIONS).unattested == (("bucket", "primary"), ("database", ""), ("keys", ""))
    assert told("access:attested") == [{"about": "bucket", "location": "offsite", "quarter": str(quarter_of(now))}]


def test_a_review_and_an_attestation_stay_as_they_are(people: dict[str, User], now: datetime) -> None:
    for row in (sign_off(people["anna"], now), attest(people["olga"], "keys", "", now)):
        with pytest.raises(BypassRefused):
            row.save()
        with pytest.raises(BypassRefused):
            row.delete()


def late(now: datetime, days: int = 1) -> datetime:
    """So many days after this quarter's duties were to be done."""
    due = quarter_of(now).due_on + timedelta(days=days)
    return datetime(due.year, due.month, due.day, 12, tzinfo=UTC)


def test_a_quarter_that_nobody_reviewed_is_a_finding_until_it_is_done(people: dict[str, User], now: datetime) -> None:
    quarter = str(quarter_of(now))
    assert reviewing.look(LOCATIONS, now) is None  # it was not there in the quarter before
    assert reviewing.look(LOCATIONS, late(now, 0)) is None  # the last day is in time
    reviewing.look(LOCATIONS, late(now))
    finding = Finding.objects.get(kind="access-unreviewed")
    assert "nobody signed off the rights; nobody attested who can reach the location primary" in finding.text
    sign_off(people["anna"], late(now), quarter)
    sign_off(people["rita"], late(now), quarter)
    reviewing.look(LOCATIONS, late(now))
    assert "the rights" not in Finding.objects.get(closed_at=None).text
    attest_all(people["olga"], late(now), quarter)
    assert Finding.objects.get(pk=finding.pk).closed_at is not None
    reviewing.look(LOCATIONS, late(now, 2))
    assert Finding.objects.filter(kind="access-unreviewed").count() == 1


def test_a_quarter_that_was_done_in_time_opens_nothing(people: dict[str, User], now: datetime) -> None:
    for name in ("anna", "rita"):
        sign_off(people[name], now)
    attest_all(people["olga"], now)
    found = reviewing.look(LOCATIONS, late(now))
    assert found is not None and found.done and not Finding.objects.exists()


def test_the_differences_name_each_person_and_what_changed(people: dict[str, User], now: datetime) -> None:
    before = documents(rights_now(now))
    end_role(people["olga"], Role.BACKUP_OPERATOR, reason="x", now=now)
    with audit.acting("boss", reason="x"):
        grant_role(User.objects.create_user("zoe"), Role.AUDITOR, reason="x", now=now)
    User.objects.filter(username="rita").update(is_superuser=True)
    end_role(people["anna"], Role.ADMINISTRATOR, reason="x", now=now)
    User.objects.filter(username="anna").update(is_active=False)
    assert differences(before, documents(rights_now(now))) == {
        "anna": ["no longer here"],
        "olga": ["role ended: backup operator"],
        "rita": ["made a superuser"],
        "zoe": ["new here"],
    }


def test_a_role_given_again_is_a_new_one(people: dict[str, User], now: datetime) -> None:
    before = documents(rights_now(now))
    end_role(people["olga"], Role.BACKUP_OPERATOR, reason="x", now=now)
    grant_role(people["olga"], Role.BACKUP_OPERATOR, reason="x", now=now + timedelta(minutes=5))
    changes = differences(before, documents(rights_now(now)))
    assert changes == {"olga": ["role given: backup operator", "role ended: backup operator"]}
