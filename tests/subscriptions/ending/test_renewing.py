"""A subscription goes on: without a gap, on the same terms, and a customer's end that is under way is cancelled (P9, P10)."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from audit import events
from audit.models import Event as Recorded
from audit.models import Stream
from subscriptions.ending.states import MoveRefused
from subscriptions.models import Customer, DataReturn, DeletionRequest, Subscription
from subscriptions.renewing import RenewingRefused, next_number, renew
from tests.subscriptions.ending.conftest import NOW


@pytest.fixture
def agreed(over: Customer) -> Subscription:
    """Over since yesterday, with terms of its own."""
    found = over.subscriptions.get()
    found.agreed_retention_years, found.agreed_destruction_days, found.return_days = 7, 14, 20
    found.notice_contacts = "ann@acme.example"
    found.save_terms()
    return found


def test_the_next_one_begins_without_a_gap_on_the_same_terms(agreed: Subscription, people: dict[str, User]) -> None:
    end = date.today() + timedelta(days=365)
    done = renew(agreed, by=people["ada"], why="order 7 of May", now=NOW, end=end)
    new = Subscription.objects.get(pk=done.subscription.pk)
    assert agreed.end is not None and done.cancelled is None
    assert (new.agreement_number, new.start, new.end) == ("acme-2", agreed.end + timedelta(days=1), end)
    assert (new.agreed_retention_years, new.agreed_destruction_days, new.return_days, new.notice_contacts) == (
        7,
        14,
        20,
        "ann@acme.example",
    )
    told = Recorded.objects.get(event=events.Event.RENEWED.value)
    assert told.customer == agreed.customer_id and told.facts["before"] == agreed.pk and told.facts["end"] == end.isoformat()
    assert new.history.get().history_change_reason == "order 7 of May"


def test_an_end_that_was_asked_for_is_cancelled(asked: DeletionRequest, people: dict[str, User]) -> None:
    done = renew(asked.customer.subscriptions.get(), by=people["ada"], why="they stay", now=NOW)
    assert done.cancelled is not None and done.cancelled.pk == asked.pk
    assert DeletionRequest.objects.get().state == "cancelled"
    assert DeletionRequest.objects.get().cancel_reason == "renewed by acme-2: they stay"


def test_data_that_was_frozen_for_its_return_is_thawed(package: DataReturn, people: dict[str, User]) -> None:
    customer = package.request.customer
    assert Stream.objects.get(pk=customer.pk).frozen_at
    renew(customer.subscriptions.get(), by=people["ada"], why="they stay", now=NOW)
    assert Stream.objects.get(pk=customer.pk).frozen_at is None


@pytest.mark.parametrize("state", ["destroying", "destroyed"])
def test_after_the_point_of_no_return_it_is_refused(asked: DeletionRequest, people: dict[str, User], state: str) -> None:
    asked.state, asked.approved_by, asked.plan_digest = state, people["rita"], "0" * 64
    asked.save()
    with pytest.raises(RenewingRefused, match=rf"acme is {state}.*add_customer.*import_content"):
        renew(asked.customer.subscriptions.get(), by=people["ada"], why="they stay", now=NOW)
    assert Subscription.objects.count() == 1


def test_whoever_may_not_cancel_the_end_stores_nothing(
    asked: DeletionRequest, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(User, "has_perm", lambda self, right, obj=None: right != "l2l_subscriptions.add_deletionrequest")
    with pytest.raises(MoveRefused):
        renew(asked.customer.subscriptions.get(), by=people["ada"], why="they stay", now=NOW)
    assert Subscription.objects.count() == 1


def test_what_is_renewed_already_or_open_ended_is_refused(agreed: Subscription, people: dict[str, User]) -> None:
    done = renew(agreed, by=people["ada"], why="x", now=NOW)
    with pytest.raises(RenewingRefused, match="acme-2 goes on after acme-1"):
        renew(agreed, by=people["ada"], why="x", now=NOW)
    with pytest.raises(RenewingRefused, match="without a last day"):
        renew(done.subscription, by=people["ada"], why="x", now=NOW)


def test_a_number_that_was_used_and_a_day_that_is_over_are_refused(agreed: Subscription, people: dict[str, User]) -> None:
    with pytest.raises(ValidationError, match="already exists"):
        renew(agreed, by=people["ada"], why="x", now=NOW, agreement_number="acme-1")
    with pytest.raises(RenewingRefused, match="is over already"):
        renew(agreed, by=people["ada"], why="x", now=NOW, end=date.today() - timedelta(days=9))


@pytest.mark.parametrize("by", ["bo", "rita", "olga", "otto"])
def test_only_the_account_manager_of_the_customer_renews(agreed: Subscription, people: dict[str, User], by: str) -> None:
    with pytest.raises(RenewingRefused, match=f"{by} may not renew"):
        renew(agreed, by=people[by], why="x", now=NOW)


@pytest.mark.parametrize(("number", "following"), [("acme-1", "acme-2"), ("acme-9", "acme-10"), ("A/2026", "A/2026-2"), ("x-", "x--2")])
def test_the_next_number(number: str, following: str) -> None:
    assert next_number(number) == following
