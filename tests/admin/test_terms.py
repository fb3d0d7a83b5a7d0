"""The pages on which agreed terms are changed: what if first, longer at once, shorter by two and a week later (P5, P9)."""

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
from backups.policies import ensure_first_policy
from subscriptions import term_requests
from subscriptions.models import Subscription, TermChangeRequest
from tests.admin.conftest import Belongings, form_of, url

As = Callable[[str], Client]


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Rita, who approves, has had her role for a month."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        people["rita"].groups.clear()
        grant_role(people["rita"], Role.RECEIPT_APPROVER, reason="a test", now=now, since=now - timedelta(days=30))
    return people


def address(one: Belongings) -> str:
    return f"{url('termchangerequest_add')}?subscription={one.subscription.pk}"


def form(**changes: Any) -> dict[str, Any]:
    return {"end": "", "agreed_retention_years": "", "agreed_destruction_days": "", "why": "the new contract, section 4"} | changes


def stored(one: Belongings) -> Subscription:
    return Subscription.objects.get(pk=one.subscription.pk)


def ask(client: Client, one: Belongings, **changes: Any) -> TermChangeRequest:
    response = client.post(address(one), form(**(changes or {"agreed_retention_years": 7}), _do="ask"), follow=True)
    asked = TermChangeRequest.objects.get(state="requested")
    assert response.redirect_chain[-1][0] == url("termchangerequest_change", asked.pk)
    return asked


def approve(client: Client, asked: TermChangeRequest, password: str = "pw") -> str:
    return client.post(url("termchangerequest_approve", asked.pk), {"password": password}, follow=True).content.decode()


def approved_long_ago(asked: TermChangeRequest, days: int) -> None:
    with audit.acting("setup", reason="a test"):
        row = TermChangeRequest.objects.get(pk=asked.pk)
        row.approved_at = datetime.now(UTC) - timedelta(days=days)
        row.save()


def test_it_begins_on_the_customers_and_on_the_subscriptions_page(as_: As, own: Belongings) -> None:
    for page in (url("customer_overview", own.customer.pk), url("subscription_change", own.subscription.pk)):
        assert address(own) in as_("ada").get(page).content.decode()
        for other in ("rita", "olga", "otto"):
            assert address(own) not in as_(other).get(page).content.decode()
    assert as_("ada").get(url("termchangerequest_add"))["Location"] == url("subscription_changelist")


def test_what_if_shows_the_difference_and_stores_nothing(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    response = as_("ada").post(address(own), form(agreed_retention_years=7, agreed_destruction_days=60, _what_if="1"))
    page = response.content.decode()
    assert response.context["differences"] == [
        ("years that data is kept", "standard", "7", True),
        ("days until destruction", "standard", "60", False),
    ]
    assert "takes a second person, and takes effect seven days after the approval" in page and "Ask for it" in page
    assert "Change it now" not in page
    assert "1 Jan 2046" in page and "1 Jan 2033" in page  # an item not changed since the first day
    assert "60 days, as agreed in acme-1" in page
    assert "No backup set is kept for longer than 7 years, as agreed in acme-1" in page and "Of one backup set, 0 would go earlier" in page
    assert not TermChangeRequest.objects.exists() and stored(own).agreed_retention_years is None


def test_longer_is_changed_at_once_by_the_account_manager(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    page = as_("ada").post(address(own), form(agreed_retention_years=30, _what_if="1")).content.decode()
    assert "needs no second person" in page and "Change it now" in page and "Ask for it" not in page
    told = as_("ada").post(address(own), form(agreed_retention_years=30, _do="at_once"), follow=True)
    assert told.redirect_chain[-1][0] == url("subscription_change", own.subscription.pk)
    assert "The new terms are in force" in told.content.decode() and stored(own).agreed_retention_years == 30
    assert Event.objects.get(event="terms:changed").actor == "ada"


def test_the_button_of_one_person_shortens_nothing(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    page = as_("ada").post(address(own), form(agreed_retention_years=7, _do="at_once")).content.decode()
    assert "another person decides" in page and stored(own).agreed_retention_years is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "Nothing would change"),
        ({"agreed_retention_years": 0}, "greater than or equal to 1"),
        ({"agreed_destruction_days": 400}, "less than or equal to 365"),
        ({"end": "2025-12-31"}, "The last day lies before the start"),
        ({"end": "tomorrow"}, "Enter a valid date"),
        ({"agreed_retention_years": 7, "why": " "}, "This field is required"),
    ],
)
def test_what_does_not_fit_is_said(as_: As, ripe: dict[str, User], own: Belongings, changes: dict[str, Any], said: str) -> None:
    for button in ("ask", "at_once"):
        assert said in as_("ada").post(address(own), form(**changes, _do=button)).content.decode()
    assert not TermChangeRequest.objects.exists()


def test_asked_by_one_approved_by_another_made_after_seven_days(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    asked = ask(as_("ada"), own)
    overview = url("customer_overview", own.customer.pk)
    assert "asked for, not approved yet" in as_("ada").get(overview).content.decode()
    assert "ada asks to change what was agreed: acme-1 of acme" in as_("rita").get("/").content.decode()
    page = as_("rita").get(url("termchangerequest_approve", asked.pk)).content.decode()
    assert "takes effect 7 days later" in page and "done at once" not in page and "No backup set is kept for longer" in page
    assert "Approved: it takes effect on" in approve(as_("rita"), asked)
    assert stored(own).agreed_retention_years is None
    page = as_("ada").get(url("termchangerequest_change", asked.pk)).content.decode()
    assert url("termchangerequest_finish", asked.pk) not in page and url("termchangerequest_cancel", asked.pk) in page
    assert as_("ada").post(url("termchangerequest_finish", asked.pk)).status_code == 403
    assert "unless it is cancelled" in as_("ada").get(overview).content.decode()
    approved_long_ago(asked, days=8)
    told = as_("ada").post(url("termchangerequest_finish", asked.pk), follow=True).content.decode()
    assert "The new terms are in force" in told and stored(own).agreed_retention_years == 7


def test_who_asked_cannot_approve_and_a_wrong_password_approves_nothing(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    asked = ask(as_("ada"), own)
    page = url("termchangerequest_approve", asked.pk)
    assert as_("ada").post(page, {"password": "pw"}).status_code == 403
    assert as_("otto").post(page, {"password": "pw"}).status_code == 403
    assert "That is not your password" in approve(as_("rita"), asked, "wrong")
    assert TermChangeRequest.objects.get().state == "requested"


def test_cancelled_while_it_waits_nothing_changes(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    asked = ask(as_("ada"), own)
    approve(as_("rita"), asked)
    told = as_("ada").post(url("termchangerequest_cancel", asked.pk), {"reason": "they stay"}, follow=True).content.decode()
    assert "The request is cancelled" in told
    with audit.acting("worker", reason="due"):
        assert term_requests.make_due(datetime.now(UTC) + timedelta(days=30)).made == []
    assert stored(own).agreed_retention_years is None


def test_a_request_that_waits_is_named_and_made_void_by_what_is_longer(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    asked = ask(as_("ada"), own)
    page = as_("ada").post(address(own), form(end="2030-01-01", _what_if="1")).content.decode()
    assert "asked for already" in page and "Ask for it" not in page
    as_("ada").post(address(own), form(agreed_destruction_days=60, _do="at_once"))
    assert TermChangeRequest.objects.get(pk=asked.pk).state == "void" and stored(own).agreed_destruction_days == 60


def test_terms_that_became_others_are_pointed_out_before_the_approval(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    asked = ask(as_("ada"), own)
    changed = stored(own)
    changed.end = date(2030, 1, 1)
    with audit.acting("setup", reason="a test"):
        changed.save_terms()
    assert "an approval finds the request void" in as_("rita").get(url("termchangerequest_change", asked.pk)).content.decode()
    assert "The request is void" in approve(as_("rita"), asked)


def test_a_foreign_customers_terms_are_not_there(as_: As, ripe: dict[str, User], own: Belongings, foreign: Belongings) -> None:
    assert as_("ada").get(address(foreign)).status_code == 404
    assert as_("ada").post(address(foreign), form(agreed_retention_years=30, _do="at_once")).status_code == 404
    assert as_("ada").get(f"{url('termchangerequest_add')}?subscription=x").status_code == 404
    asked = ask(as_("ada"), own)
    with audit.acting("setup", reason="a test"):
        own.customer.refresh_from_db()
        own.customer.account_manager = None
        own.customer.save()
    assert as_("ada").get(url("termchangerequest_change", asked.pk)).status_code in (302, 404)
    assert as_("ada").post(url("termchangerequest_cancel", asked.pk), {"reason": "x"}).status_code in (302, 404)
    assert TermChangeRequest.objects.get().state == "requested" and stored(foreign).agreed_retention_years is None


def test_the_form_of_a_subscription_shows_its_terms_and_changes_none(as_: As, own: Belongings) -> None:
    client, page = as_("root"), url("subscription_change", own.subscription.pk)
    sent = form_of(client, page, plan="gold", change_reason="x")
    assert not {"end", "agreed_retention_years", "agreed_destruction_days"} & sent.keys()
    client.post(page, {**sent, "end": "2027-01-01", "agreed_retention_years": "1", "agreed_destruction_days": "1"})
    assert (stored(own).plan, stored(own).terms) == ("gold", own.subscription.terms)
    assert as_("root").post(url("subscription_delete", own.subscription.pk), {"post": "yes"}).status_code in (302, 403)
    assert Subscription.objects.filter(pk=own.subscription.pk).exists()


def test_a_further_subscription_is_added_with_its_terms(as_: As, own: Belongings) -> None:
    client, page = as_("root"), url("subscription_add")
    about = {"customer": own.customer.pk, "agreement_number": "acme-2", "start": "2026-02-01", "agreed_retention_years": 5}
    client.post(page, form_of(client, page, **about, end="2030-01-01", change_reason="x"))
    added = own.customer.subscriptions.get(agreement_number="acme-2")
    assert (added.agreed_retention_years, added.end) == (5, date(2030, 1, 1))
