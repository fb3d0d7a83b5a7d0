"""Retention obeys another agreed term from the moment at which it is made, and what it would do is told before (P6, P9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Sum

from audit.grants import grant_role
from audit.roles import Role
from audit.sizes import in_units
from backups.models import BackupSet
from backups.prune import carrying_out
from backups.prune.agreed_terms import on_sets
from backups.vault import Vault
from subscriptions import term_requests
from subscriptions.models import Subscription
from tests.backups.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

Nights = Callable[..., list[BackupSet]]


@pytest.fixture
def people(acme: Any, clock: Clock, settings: Any) -> dict[str, User]:
    settings.L2L_SAMPLE = True
    found = {name: User.objects.create_user(name, password="pw") for name in ("ada", "rita")}
    for name, role in (("ada", Role.ACCOUNT_MANAGER), ("rita", Role.RECEIPT_APPROVER)):
        grant_role(found[name], role, reason="a test", now=clock(), since=clock() - timedelta(days=30))
    acme.account_manager = found["ada"]
    acme.save()
    return found


def state(one: BackupSet) -> str:
    return BackupSet.objects.get(pk=one.pk).state


def test_a_shorter_term_removes_nothing_before_it_is_made(
    vault: Vault, acme: Any, nights: Nights, clock: Clock, people: dict[str, User]
) -> None:
    of_the_month = nights(acme, 3)[-1]
    clock.forward(days=370)
    nights(acme, 1)
    asked = term_requests.request_change(acme.subscriptions.get(), by=people["ada"], why="agreed", now=clock(), agreed_retention_years=1)
    asked = term_requests.approve(asked, by=people["rita"], password="pw", now=clock())
    assert asked.begins_at is not None
    carrying_out.carry_out(vault)
    assert state(of_the_month) == "made"
    nights(acme, 6)
    assert term_requests.make_due(clock()).made == []
    carrying_out.carry_out(vault)
    assert state(of_the_month) == "made"
    nights(acme, 1)
    assert clock() >= asked.begins_at and term_requests.make_due(clock()).made == [asked.pk]
    carrying_out.carry_out(vault)
    assert state(of_the_month) == "removed"
    assert "as agreed in acme-1" in BackupSet.objects.get(pk=of_the_month.pk).kept_why


def test_a_longer_term_keeps_what_was_about_to_go(vault: Vault, acme: Any, nights: Nights, clock: Clock, people: dict[str, User]) -> None:
    subscription = acme.subscriptions.get()
    subscription.agreed_retention_years = 1
    subscription.save_terms()
    of_the_month = nights(acme, 3)[-1]
    clock.forward(days=300)
    nights(acme, 1)
    carrying_out.carry_out(vault)
    term_requests.change_at_once(subscription, by=people["ada"], why="agreed", now=clock(), agreed_retention_years=2)
    clock.forward(days=100)
    nights(acme, 1)
    carrying_out.carry_out(vault)
    assert state(of_the_month) == "made"


def test_what_it_would_do_to_the_sets_is_told_before(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    of_the_month = nights(acme, 3)[-1]
    clock.forward(days=370)
    nights(acme, 1)
    carrying_out.carry_out(vault)
    found = term_requests.what_if(acme.subscriptions.get(), now=clock(), agreed_retention_years=1)
    (effect,) = found.effects
    size, both = BackupSet.objects.get(pk=of_the_month.pk).new_bytes, BackupSet.objects.filter(state="made").aggregate(Sum("new_bytes"))
    assert effect.sooner == 2  # the newest stands in for the months between them
    assert effect.sentences == (
        "No backup set is kept for longer than 1 year, as agreed in acme-1; now: 20 years, the standard.",
        f"Of 2 backup sets, 2 would go earlier ({in_units(both['new_bytes__sum'])} first stored for them) and 0 later.",
        f"As soon as it begins 1 of them would go ({in_units(size)} first stored for them). What a legal hold keeps stays.",
    )
    longer = term_requests.what_if(acme.subscriptions.get(), now=clock(), agreed_retention_years=30)
    assert longer.effects[0].sentences[1] == "Of 2 backup sets, 0 would go earlier and 2 later." and not longer.shorter


def test_another_agreement_that_keeps_longer_lets_no_set_go_earlier(vault: Vault, acme: Any, nights: Nights, clock: Clock) -> None:
    first = acme.subscriptions.get()
    Subscription(customer=acme, agreement_number="acme-2", start=first.start).save()
    nights(acme, 2)
    found = term_requests.what_if(first, now=clock(), agreed_retention_years=5)
    assert found.effects[0].sooner == 0 and "kept as now" in found.effects[0].sentences[0]
    assert found.shorter  # what was agreed in this one is less all the same


def test_what_the_policy_keeps_longer_than_the_standard_takes_two_to_shorten(
    vault: Vault, acme: Any, nights: Nights, clock: Clock, people: dict[str, User]
) -> None:
    from backups import policies
    from backups.policy import Policy

    policies._add(2, Policy(2, clock(), longest_years=30), zone="UTC", made_by="test", reason="longer")
    subscription = acme.subscriptions.get()
    assert on_sets(acme.pk, [subscription.terms], [subscription.terms], clock()).sooner == 0
    with pytest.raises(term_requests.TermsRefused, match="another person decides"):
        term_requests.change_at_once(subscription, by=people["ada"], why="agreed", now=clock(), agreed_retention_years=25)
