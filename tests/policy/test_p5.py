"""Only appropriate people get in, and no one person can destroy or overwrite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import IntegrityError, connection, transaction

import audit
from audit import two_person
from audit.models import AccessReview
from audit.promises import Standing
from audit.reviews import reviewing
from audit.reviews.quarters import quarter_of
from audit.reviews.rights import digest_of, documents, rights_now
from audit.two_person import ApprovalRefused
from backups.models import PolicyChangeRequest
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P5")]

People = dict[str, User]


def test_nobody_approves_what_they_asked_for(service: Service, people: People) -> None:
    """Not by the verb, and not by writing the row."""
    now = datetime.now(UTC)
    asked = two_person.request(
        PolicyChangeRequest, by=people["olga"], what="keep 60 nights", why="a test", plan={"a": 1}, now=now, changes={"nightly_days": 60}
    )
    with pytest.raises(ApprovalRefused, match="cannot approve"):
        two_person.approve(asked, by=people["olga"], password="pw", plan={"a": 1}, now=now)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        table = PolicyChangeRequest._meta.db_table
        cursor.execute(f"UPDATE {table} SET approved_by_id = requested_by_id WHERE id = %s", [asked.pk])
    assert service.measured()["P5"] is Standing.KEPT


def test_a_right_without_a_grant_turns_it_red_until_it_is_taken_away(service: Service, people: People) -> None:
    assert service.broken() == set()
    right = Permission.objects.get(codename="approve_deletionrequest")
    people["olga"].user_permissions.add(right)
    assert service.broken() == {"P5"}
    assert "1 rights beyond them" in service.state("access").figure and service.state("access").value == 1
    assert service.findings() == ["control:access"]
    people["olga"].user_permissions.remove(right)
    assert service.broken() == set()


def test_a_quarter_that_nobody_reviewed_turns_it_red_until_two_people_did(today: Any, service: Service, people: People) -> None:
    audit.events.record(audit.events.Event.SIGNED_OUT)  # the installation begins in this quarter
    quarter = quarter_of(service.clock())
    service.night(quarter.due_on - timedelta(days=1))
    assert service.measured()["P5"] is Standing.AT_RISK
    service.night(quarter.due_on)
    service.verify()
    assert service.broken() == {"P5"}
    places = [place.name for place in service.vault.places]
    lacking = 1 + len(places) + 2
    assert service.state("access_review").value == lacking and service.findings() == ["control:access_review"]
    _reviewed(quarter, people, places, service.clock())
    assert service.broken() == set() and AccessReview.objects.count() == 2


def _reviewed(quarter: Any, people: People, places: list[str], now: datetime) -> None:
    for name in ("anna", "arno"):
        reviewer = people[name]
        with audit.acting(audit.actors.of_user(reviewer, reason="the review")):
            seen = digest_of(documents(rights_now(now)))
            reviewing.sign_off(by=reviewer, quarter=quarter, seen=seen, remarks="", locations=places, now=now)
    with audit.acting("anna", reason="the review"):
        for about, location in [*(("bucket", name) for name in places), ("database", ""), ("keys", "")]:
            reviewing.attest(
                about, location, people="olga, by a look at the rights", by=people["anna"], quarter=quarter, locations=places, now=now
            )
