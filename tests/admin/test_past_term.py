"""The pages of content past its term: how much and when, asked for by the account manager, approved by another, and what went (P9, P5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

import audit
from audit.grants import grant_role
from audit.models import Event
from audit.roles import Role
from backups.models import BackupSet, Purge, PurgeRequest, PurgeTry, TermLook
from backups.purge import looks
from subscriptions import holds
from subscriptions.models import DataRecord
from tests.admin.conftest import Belongings, url
from tests.past import at

As = Callable[[str], Client]
OLD = "2001-05-04T12:00:00+00:00"


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Ada and rita have had their roles for a month."""
    settings.L2L_SAMPLE = True
    since = datetime.now(UTC) - timedelta(days=30)
    with audit.acting("setup", reason="a test"):
        for name, role in (("ada", Role.ACCOUNT_MANAGER), ("rita", Role.RECEIPT_APPROVER)):
            people[name].groups.clear()
            grant_role(people[name], role, reason="a test", now=datetime.now(UTC), since=since)
    return people


@pytest.fixture
def aged(own: Belongings, ripe: dict[str, User], settings: Any) -> Any:
    """Ada's customer, with three items of 2001."""
    with audit.acting("setup", reason="a test"), at(settings, OLD):
        for number in range(3):
            DataRecord.objects.create(customer=own.customer, kind="part", reference=f"old-{number}", data={"n": number})
    return own.customer


def page(client: Client, customer: Any) -> str:
    return client.get(url("customer_past_term", customer.pk)).content.decode()


def ask(client: Client, customer: Any, button: str = "_ask", **values: Any) -> Any:
    about = {"term": "standard", "day": datetime.now(UTC).date().isoformat(), "why": "the term is over"} | values
    return client.post(f"{url('purgerequest_add')}?customer={customer.pk}", about | {button: "1"}, follow=True)


def test_the_page_counts_by_horizon_says_why_and_leads_on(as_: As, aged: Any) -> None:
    response = as_("ada").get(url("customer_past_term", aged.pk))
    shown = response.content.decode()
    assert [one.listed.by for one in response.context["shown"]] == [(3, 3, 3, 3)]
    assert "old-0" in shown and "4 May 2021" in shown and "20 years since the last change on 2001-05-04" in shown
    assert "Ask for the purge of what is past 20 years" in shown
    assert "Ask for the purge" not in page(as_("otto"), aged)


def test_a_customer_without_old_content(as_: As, own: Belongings) -> None:
    assert "Nothing is past its term" in page(as_("ada"), own.customer)
    response = ask(as_("ada"), own.customer)
    assert "Nothing of this customer is past that term" in response.content.decode() and not PurgeRequest.objects.exists()


def test_a_preview_stores_nothing(as_: As, aged: Any) -> None:
    shown = ask(as_("ada"), aged, "_preview").content.decode()
    assert "3 items past their 20 years" in shown and "old-1" in shown and "It cannot be undone" in shown
    assert not PurgeRequest.objects.exists()


def test_asked_by_the_account_manager_approved_by_another(as_: As, aged: Any) -> None:
    ask(as_("ada"), aged)
    asked = PurgeRequest.objects.get()
    assert (asked.customer, asked.counts) == (aged, {"l2l_subscriptions.datarecord": 3})
    assert "ada asks for the purge of acme" in as_("rita").get("/").content.decode()
    assert as_("ada").post(url("purgerequest_approve", asked.pk), {"password": "pw"}).status_code == 403
    response = as_("rita").post(url("purgerequest_approve", asked.pk), {"password": "wrong"}, follow=True)
    assert "That is not your password" in response.content.decode()
    response = as_("rita").post(url("purgerequest_approve", asked.pk), {"password": "pw"}, follow=True)
    assert "the destroyer removes what is due now" in response.content.decode()
    assert "It did not look yet" in response.content.decode()
    asked.refresh_from_db()
    assert asked.state == "approved" and DataRecord.objects.filter(reference__startswith="old").count() == 3
    assert Event.objects.filter(event="request:approved").count() == 1


def test_nobody_asks_for_a_foreign_customer(as_: As, aged: Any, foreign: Belongings) -> None:
    assert ask(as_("ada"), foreign.customer).status_code == 404
    assert as_("ada").get(url("customer_past_term", foreign.customer.pk)).status_code in (302, 404)
    for name in ("rita", "olga", "otto"):
        assert ask(as_(name), aged).status_code == 403


def test_what_was_changed_since_is_said_to_whoever_approves(as_: As, aged: Any) -> None:
    ask(as_("ada"), aged)
    asked = PurgeRequest.objects.get()
    with audit.acting("ada", reason="a test"):
        DataRecord.objects.get(reference="old-2").delete()
    assert "This is not what was asked for" in as_("rita").get(url("purgerequest_change", asked.pk)).content.decode()
    as_("rita").post(url("purgerequest_approve", asked.pk), {"password": "pw"}, follow=True)
    asked.refresh_from_db()
    assert asked.state == "void"


def test_a_hold_is_shown_and_nothing_is_asked_for(as_: As, aged: Any, people: dict[str, User]) -> None:
    with audit.acting("ada", reason="a court order"):
        holds.place(aged, holder="a court", basis="1 O 1", review_on=date(2030, 1, 1), by=people["ada"], now=datetime.now(UTC))
    assert "A legal hold is open" in page(as_("ada"), aged) and "Ask for the purge" not in page(as_("ada"), aged)
    assert "A legal hold of a court is open" in ask(as_("ada"), aged).content.decode()


@pytest.mark.parametrize(
    ("goes", "said"),
    [
        ((None,), "One set holds them still; when the last one goes is not decided yet."),
        ((datetime(2031, 2, 3, 4, 5, tzinfo=UTC),), "One set holds them still; the last one goes on 3 Feb 2031, 04:05 UTC"),
        ((), "No set holds them any more."),
    ],
)
def test_when_the_last_set_with_it_goes(as_: As, aged: Any, people: dict[str, User], goes: tuple[Any, ...], said: str) -> None:
    BackupSet.objects.filter(stream=aged.pk).update(state="removed")
    now = datetime.now(UTC)
    for at_moment in goes:
        BackupSet.objects.create(stream_id=aged.pk, state="made", night=now.date(), started_at=now, snapshot_at=now, goes_at=at_moment)
    with audit.acting("setup", reason="a test"):
        asked = PurgeRequest(what="x", why="y", plan_digest="0" * 64, requested_by=people["ada"], requested_at=now, customer=aged)
        asked.term, asked.day = "standard", now.date()
        asked.save()
        about = {"part": 1, "purged_at": now + timedelta(minutes=1), "counts": {"x.y": [2, 3, 1]}, "key_number": 1, "total": "0" * 64}
        purge = Purge.objects.create(customer=aged, request=asked, digests=b"", numbers=b"", newest_history=1, **about)
    for address in (url("purge_change", purge.pk), url("customer_past_term", aged.pk)):
        assert said in as_("ada").get(address).content.decode()


def test_an_overdue_agreed_term_is_red_on_its_page_and_the_front_page(as_: As, aged: Any) -> None:
    assert "past 20 years" not in as_("ada").get("/").content.decode()
    subscription = aged.subscriptions.get()
    subscription.agreed_retention_years = 10
    with audit.acting("ada", reason="agreed"):
        subscription.save_terms()
    assert looks.look_at_all(datetime.now(UTC)) == 1
    assert (TermLook.objects.get().overdue, TermLook.objects.get().overdue_since) == (3, date(2011, 5, 5))
    assert "3 items should have gone, the first on 5 May 2011" in page(as_("ada"), aged)
    assert "acme: 3 items should have gone by an agreed term, the first on 2011-05-05" in as_("ada").get("/").content.decode()
    assert looks.look_at_all(datetime.now(UTC)) == 0  # once a day
    assert looks.look_at_all(datetime.now(UTC) + timedelta(days=1)) == 1


def test_the_account_manager_is_told_what_waits_for_a_decision(as_: As, aged: Any) -> None:
    looks.look_at_all(datetime.now(UTC))
    assert "acme: 3 items past 20 years; decide whether to purge." in as_("ada").get("/").content.decode()
    ask(as_("ada"), aged)
    assert "decide whether to purge" not in as_("ada").get("/").content.decode()


def test_the_account_manager_is_told_to_ask_ahead_for_an_agreed_term(as_: As, aged: Any, settings: Any) -> None:
    subscription = aged.subscriptions.get()
    subscription.agreed_retention_years = 20  # what is of today's date so many years ago goes tomorrow
    with audit.acting("ada", reason="agreed"):
        subscription.save_terms()
        today = datetime.now(UTC)
        with at(settings, today.replace(year=today.year - 20, day=min(today.day, 28)).isoformat()):
            DataRecord.objects.create(customer=aged, kind="part", reference="soon")
    looks.look_at_all(datetime.now(UTC))
    assert "acme: an agreed term lets 4 items go within 90 days: ask for it ahead." in as_("ada").get("/").content.decode()
    ahead = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    shown = ask(as_("ada"), aged, term="agreed", day=ahead).content.decode()
    assert "Asked. Nothing goes before another person approves it" in shown
    assert "ask for it ahead" not in as_("ada").get("/").content.decode()


def test_a_purge_that_failed_is_red_and_one_that_waits_is_not(as_: As, aged: Any) -> None:
    ask(as_("ada"), aged)
    asked = PurgeRequest.objects.get()
    as_("rita").post(url("purgerequest_approve", asked.pk), {"password": "pw"})
    failed = PurgeTry.objects.create(request=asked, tried_at=datetime.now(UTC), trouble="The upload storage keeps it.")
    assert "acme: The upload storage keeps it." in as_("ada").get("/").content.decode()
    failed.passing = True
    failed.save()
    assert "The upload storage keeps it." not in as_("ada").get("/").content.decode()
    assert "The upload storage keeps it." in as_("ada").get(url("purgerequest_change", asked.pk)).content.decode()
