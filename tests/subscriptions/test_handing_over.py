"""Customers go from one account manager to another: by whom, to whom, and what is told of it (P5)."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.contrib.auth.models import User

from audit import events
from audit.grants import end_role, grant_role
from audit.models import Event as Recorded
from audit.roles import Role
from subscriptions import handing_over
from subscriptions.handing_over import HandingOverRefused, hand_over, unmanaged
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer


@pytest.fixture
def beta(people: dict[str, User]) -> Customer:
    """Nobody's yet."""
    return add_customer("beta", "Beta", start=date(2026, 1, 1))


def manager_of(customer: Customer) -> str:
    found = Customer.objects.select_related("account_manager").get(pk=customer.pk).account_manager
    return found.username if found else ""


def test_an_account_manager_hands_over_an_own_customer(acme: Customer, people: dict[str, User]) -> None:
    assert hand_over([acme], to=people["bo"], by=people["ada"], why="Ada goes on leave") == [acme]
    assert manager_of(acme) == "bo"
    told = Recorded.objects.get(event=events.Event.CUSTOMER_HANDED_OVER.value)
    assert (told.customer, told.facts) == (acme.pk, {"from": "ada", "to": "bo"})
    newest = acme.history.first()
    assert (newest.history_change_reason, newest.account_manager_id) == ("Ada goes on leave", people["bo"].pk)
    assert not Customer.objects.visible_to(people["ada"]).exists()


def test_whoever_sees_every_customer_gives_one_that_is_nobodys(beta: Customer, people: dict[str, User]) -> None:
    assert list(unmanaged()) == [beta]
    hand_over([beta], to=people["bo"], by=people["rita"], why="a new customer")
    assert manager_of(beta) == "bo" and not unmanaged().exists()
    assert Recorded.objects.get(event=events.Event.CUSTOMER_HANDED_OVER.value).facts == {"to": "bo"}


def test_all_or_none(acme: Customer, beta: Customer, people: dict[str, User]) -> None:
    with pytest.raises(HandingOverRefused, match="1 of these 2 are no customers of ada's"):
        hand_over([acme, beta], to=people["bo"], by=people["ada"], why="x")
    assert manager_of(acme) == "ada"


def test_who_has_it_already_keeps_it_without_a_trace(acme: Customer, beta: Customer, people: dict[str, User]) -> None:
    hand_over([acme], to=people["bo"], by=people["rita"], why="x")
    versions = acme.history.count()
    assert hand_over([acme, beta], to=people["bo"], by=people["rita"], why="x") == [beta]
    assert acme.history.count() == versions


@pytest.mark.parametrize("by", ["olga", "otto"])
def test_seeing_every_customer_is_not_enough(acme: Customer, people: dict[str, User], by: str) -> None:
    with pytest.raises(HandingOverRefused, match=r"needs the right l2l_subscriptions\.hand_over_customer"):
        hand_over([acme], to=people["bo"], by=people[by], why="x")


def test_nobody_takes_one_for_themselves(acme: Customer, people: dict[str, User]) -> None:
    now = datetime.now(UTC)
    grant_role(people["rita"], Role.ACCOUNT_MANAGER, reason="x", now=now)
    with pytest.raises(HandingOverRefused, match="Nobody takes customers for themselves"):
        hand_over([acme], to=people["rita"], by=people["rita"], why="x")


@pytest.mark.parametrize("to", ["otto", "olga"])
def test_only_account_managers_look_after_customers(acme: Customer, people: dict[str, User], to: str) -> None:
    with pytest.raises(HandingOverRefused, match="is no active account manager"):
        hand_over([acme], to=people[to], by=people["ada"], why="x")


def test_without_a_reason_nothing_is_handed_over(acme: Customer, people: dict[str, User]) -> None:
    with pytest.raises(HandingOverRefused, match="Say why"):
        hand_over([acme], to=people["bo"], by=people["ada"], why="  ")


def test_customers_of_somebody_who_left_are_nobodys(acme: Customer, people: dict[str, User]) -> None:
    assert not unmanaged().exists()
    end_role(people["ada"], Role.ACCOUNT_MANAGER, reason="left", now=datetime.now(UTC))
    assert list(unmanaged()) == [acme]
    assert people["ada"] not in handing_over.account_managers()
