"""Renewing a subscription in the admin, also while the customer's end is under way; comparing with billing (P1, P9, P10)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

import audit
from subscriptions.models import DeletionRequest, Reconciliation
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
YESTERDAY = date.today() - timedelta(days=1)


@pytest.fixture
def over(own: Belongings) -> Belongings:
    """Its subscription ended yesterday."""
    with audit.acting("setup", reason="a test", source="test"):
        own.subscription.end = YESTERDAY
        own.subscription.save_terms()
    return own


@pytest.fixture
def asked(over: Belongings, people: dict[str, User]) -> DeletionRequest:
    about = {"why": "x", "requested_by": people["ada"], "requested_at": datetime.now(UTC), "ends_on": YESTERDAY}
    with audit.acting("setup", reason="a test", source="test"):
        return DeletionRequest.objects.create(customer=over.customer, **about)


def test_it_is_asked_first_and_goes_on_by_post(as_: As, over: Belongings) -> None:
    ada, address = as_("ada"), url("subscription_renew", over.subscription.pk)
    for page in (url("customer_overview", over.customer.pk), url("subscription_change", over.subscription.pk)):
        assert address in ada.get(page).content.decode()
    assert "without a gap" in ada.get(address).content.decode()
    assert over.customer.subscriptions.count() == 1
    done = ada.post(address, {"why": "order 12", "end": "", "agreement_number": "A/2027"}, follow=True)
    assert "A/2027 goes on from" in done.content.decode()
    assert [one.start for one in over.customer.subscriptions.filter(agreement_number="A/2027")] == [date.today()]
    assert address not in ada.get(url("customer_overview", over.customer.pk)).content.decode()


def test_it_says_that_the_end_is_cancelled_by_it(as_: As, asked: DeletionRequest, over: Belongings) -> None:
    ada, address = as_("ada"), url("subscription_renew", over.subscription.pk)
    assert "Renewing cancels it" in ada.get(address).content.decode()
    assert "The end of the customer is cancelled" in ada.post(address, {"why": "they stay"}, follow=True).content.decode()
    asked.refresh_from_db()
    assert asked.state == "cancelled"


def test_after_the_point_of_no_return_it_says_what_to_do(
    as_: As, asked: DeletionRequest, over: Belongings, people: dict[str, User]
) -> None:
    asked.state, asked.approved_by, asked.plan_digest = "destroying", people["rita"], "0" * 64
    with audit.acting("setup", reason="a test", source="test"):
        asked.save()
    answer = as_("ada").post(url("subscription_renew", over.subscription.pk), {"why": "they stay"}, follow=True)
    assert "manage.py add_customer" in answer.content.decode() and over.customer.subscriptions.count() == 1


def test_what_is_typed_wrong_comes_back_with_what_is_wrong(as_: As, over: Belongings) -> None:
    answer = as_("ada").post(url("subscription_renew", over.subscription.pk), {"why": "x", "agreement_number": "acme-1"})
    assert answer.status_code == 200 and "already exists" in answer.content.decode()
    assert over.customer.subscriptions.count() == 1


@pytest.mark.parametrize("who", ["rita", "olga", "otto"])
def test_others_see_no_way_and_have_none(as_: As, over: Belongings, who: str) -> None:
    address = url("subscription_renew", over.subscription.pk)
    assert address not in as_(who).get(url("customer_overview", over.customer.pk)).content.decode()
    assert as_(who).post(address, {"why": "x"}).status_code == 403


# Billing


def compare(client: Client, text: str) -> str:
    file = SimpleUploadedFile("billing.csv", text.encode(), "text/csv")
    return client.post(url("reconciliation_add"), {"file": file}, follow=True).content.decode()


def test_an_operator_compares_and_reads_what_differs(as_: As, own: Belongings, foreign: Belongings) -> None:
    olga = as_("olga")
    assert "never compared" in olga.get(url("reconciliation_changelist")).content.decode()
    text = compare(olga, "code\nacme\nghost\n")
    kept = Reconciliation.objects.get()
    assert "Billed, and unknown here" in text and "ghost" in text and "Nobody backs them up" in text
    assert url("customer_overview", foreign.customer.pk) in text  # served, and not billed
    assert (kept.by, kept.billed, kept.ours, kept.matched) == ("olga", 2, 2, 1)
    assert "2 differences" in as_("otto").get(url("reconciliation_changelist")).content.decode()
    assert "never compared" not in olga.get(url("reconciliation_changelist")).content.decode()


def test_a_list_that_is_none_is_refused_with_its_lines(as_: As, own: Belongings) -> None:
    text = compare(as_("olga"), "code\n<script>\n")
    assert "line 2, column code" in text and "<script>\n" not in text
    assert not Reconciliation.objects.exists()


@pytest.mark.parametrize("who", ["ada", "rita", "otto", "anna"])
def test_others_do_not_compare(as_: As, own: Belongings, who: str) -> None:
    file = SimpleUploadedFile("billing.csv", b"code\nacme\n", "text/csv")
    assert as_(who).post(url("reconciliation_add"), {"file": file}).status_code == 403
    assert not Reconciliation.objects.exists()
