"""Acme with content of every kind, shipped and backed up, and the standard policy."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from audit.models import Stream
from backups.models import BackupSet, Slot, TestOrder
from backups.policies import ensure_first_policy
from backups.test_restores import orders
from backups.test_restores.carrying_out import carry_out
from backups.vault import Vault
from tests.backups.shipping import ship
from tests.backups.test_back_up import backed_up, fill
from tests.backups.test_scratch import fill_the_vendors_own

Tested = Callable[..., list[TestOrder]]


@pytest.fixture
def kept(acme: Any, vault: Vault, clock: Any) -> Any:
    """One protected set with all that was shipped, and a segment behind it."""
    ensure_first_policy()
    fill(acme)
    fill_the_vendors_own(acme)
    ship(vault)
    backed_up(vault, acme)
    fill_more(acme)
    ship(vault)
    return acme


def fill_more(customer: Any) -> None:
    from subscriptions.models import Link

    Link.objects.create(customer=customer, reference="later", title="made after the set", url="https://example.org")


@pytest.fixture
def tested(vault: Vault, clock: Any) -> Tested:
    """Asks for tests of a customer, and makes them."""

    def make(customer: Any, **asked: Any) -> list[TestOrder]:
        stream = Stream.objects.get(pk=customer.pk)
        made = orders.ask(vault, stream, clock(), reason="a test", **asked)
        return [order for one in made if (order := carry_out(vault, one.pk)) is not None]

    return make


def chosen_for(backup_set: BackupSet, key: str, clock: Any) -> Slot:
    """The set as one that is kept for a week or a month."""
    night = backup_set.night
    return Slot.objects.create(
        stream=backup_set.stream,
        key=key,
        first=night,
        last=night + timedelta(days=6),
        state=Slot.State.FILLED,
        backup_set=backup_set,
        policy=1,
        decided_at=clock(),
    )
