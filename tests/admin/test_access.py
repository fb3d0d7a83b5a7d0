"""The review of access on its page: the rights as they are, what changed, the sign-off by two, and the attestations (P5)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

import audit
from audit.grants import grant_role
from audit.models import AccessReview, Attestation, Event
from audit.reviews.quarters import quarter_of
from audit.roles import Role
from backups.models import Location
from l2l.admin.access import review_todos

As = Callable[[str], Client]
NOW = reverse("admin:l2l_audit_accessreview_now")
ATTEST = reverse("admin:l2l_audit_attestation_add")


@pytest.fixture
def places(db: None) -> None:
    Location.objects.create(name="primary", url="file:///x")
    Location.objects.create(name="former", url="file:///y", in_force=False)


def give(user: User, role: Role = Role.AUDITOR) -> None:
    with audit.acting("boss", reason="joined"):
        grant_role(user, role, reason="joined", now=datetime.now(UTC))


def sign_off(client: Client, **changes: str) -> Any:
    form = client.get(NOW).context["form"]
    sent = {"quarter": str(quarter_of(datetime.now(UTC))), "seen": form["seen"].value(), "remarks": "all needed"}
    return client.post(NOW, sent | changes, follow=True)


def test_the_first_review_shows_each_role_with_since_and_by(as_: As, people: dict[str, User], places: None) -> None:
    give(people["nobody"])
    page = as_("anna").get(NOW).content.decode()
    assert "by boss" in page and "There was no review yet: look at every line" in page and "superuser" in page
    assert "nobody attested who can reach the location primary" in page and "the location former" not in page


def test_two_people_sign_off_and_what_changes_then_is_marked(as_: As, people: dict[str, User], places: None) -> None:
    assert "Signed off for" in sign_off(as_("anna")).content.decode()
    assert "nobody else confirmed the rights of anna" in as_("rita").get(NOW).content.decode()
    sign_off(as_("rita"))
    assert "nobody else confirmed" not in as_("anna").get(NOW).content.decode()
    give(people["nobody"])
    page = as_("otto").get(NOW).content.decode()
    assert "1 person changed since the review" in page and "role given: auditor" in page
    (review, first) = AccessReview.objects.order_by("-pk")
    assert (review.signed_off_by, first.signed_off_by, first.remarks) == ("rita", "anna", "all needed")
    shown = as_("otto").get(reverse("admin:l2l_audit_accessreview_change", args=[review.pk])).content.decode()
    assert "What was seen" in shown and "role given: auditor" not in shown
    assert "signed off" in as_("otto").get(reverse("admin:l2l_audit_accessreview_changelist")).content.decode().lower()


def test_rights_that_changed_meanwhile_are_looked_at_again(as_: As, people: dict[str, User], places: None) -> None:
    seen = as_("anna").get(NOW).context["form"]["seen"].value()
    give(people["nobody"])
    again = sign_off(as_("anna"), seen=seen, remarks="ok <b>")
    assert "The rights changed after you opened the page" in again.content.decode() and not AccessReview.objects.exists()
    assert again.context["form"]["remarks"].value() == "ok <b>"
    sign_off(as_("anna"), seen=again.context["form"]["seen"].value())
    assert AccessReview.objects.count() == 1


def test_whoever_may_only_look_has_no_form(as_: As, places: None) -> None:
    for name in ("otto", "olga"):
        assert "Sign off" not in as_(name).get(NOW).content.decode()
        assert as_(name).post(NOW, {}).status_code == 403
    assert as_("ada").get(NOW).status_code == 403


def test_the_matrix_as_csv_has_a_line_for_each_role_and_is_on_record(as_: As, people: dict[str, User]) -> None:
    give(people["nobody"])
    give(people["nobody"], Role.BACKUP_OPERATOR)
    User.objects.filter(username="nobody").update(first_name="=1+1")
    answer = as_("otto").get(reverse("admin:l2l_audit_accessreview_csv"))
    lines = answer.content.decode().splitlines()
    assert [line.split(",")[:5] for line in lines if line.startswith("nobody")] == [
        ["nobody", "'=1+1", "true", "false", "auditor"],
        ["nobody", "'=1+1", "true", "false", "backup operator"],
    ]
    told = Event.objects.get(event="report:made")
    assert (told.actor, told.facts["kind"], told.facts["rows"]) == ("otto", "access-rights", len(lines) - 1)


def test_attestations_say_what_nobody_spoke_for_yet(as_: As, places: None) -> None:
    quarter = str(quarter_of(datetime.now(UTC)))
    listed = as_("otto").get(reverse("admin:l2l_audit_attestation_changelist")).content.decode()
    assert "nobody spoke yet for the location primary, the database and its own backups, the key files and the escrow key" in listed
    form = as_("olga").get(ATTEST).content.decode()
    assert "the location primary" in form and "the location former" not in form
    sent = {"quarter": quarter, "what": "bucket:primary", "people": "olga, by the provider's list"}
    done = as_("olga").post(ATTEST, sent, follow=True).content.decode()
    assert "nobody spoke yet for the database and its own backups" in done
    stated = Attestation.objects.get()
    assert (stated.about, stated.location, stated.attested_by, stated.quarter) == ("bucket", "primary", "olga", quarter)
    assert "not one of the available choices" in as_("olga").post(ATTEST, sent | {"what": "bucket:former"}).content.decode()
    assert as_("otto").post(ATTEST, sent).status_code == 403


def test_the_front_page_tells_each_what_waits_for_them(people: dict[str, User], places: None, monkeypatch: pytest.MonkeyPatch) -> None:
    give(people["otto"])  # something happened here, so the quarter is owed
    before = quarter_of(datetime.now(UTC))
    current = before.next
    last_days = datetime.combine(current.last_day - timedelta(days=9), time(12), UTC)
    monkeypatch.setattr("audit.clock.now", lambda: last_days)
    told = {
        name: [(one.kind, one.text) for one in review_todos(User.objects.get(username=name))] for name in ("anna", "rita", "olga", "ada")
    }
    assert told["ada"] == []
    assert [kind for kind, _ in told["olga"]] == ["bad", "info"]
    assert all("attest who can reach the location primary" in text for _, text in told["olga"])
    assert [text.partition(": ")[2] for _, text in told["rita"]] == [
        f"nobody signed the rights off yet, due {one.due_on:%-d %B %Y}." for one in (before, current)
    ]
    assert len(told["anna"]) == 4


def test_the_command_lists_people_changes_and_what_is_owed(people: dict[str, User], as_: As, places: None) -> None:
    sign_off(as_("anna"))
    give(people["nobody"])
    said = StringIO()
    call_command("access", json=True, stdout=said)
    document = json.loads(said.getvalue())
    assert document["changes"] == {"nobody": ["role given: auditor"]}
    assert (
        document["quarters"][0]["unseen"] == ["anna"]
        and {"about": "bucket", "location": "primary"} in document["quarters"][0]["unattested"]
    )
    lines = StringIO()
    call_command("access", stdout=lines)
    assert "nobody: last sign-in never, role given: auditor" in lines.getvalue()
