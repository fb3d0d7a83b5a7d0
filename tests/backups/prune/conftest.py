"""A customer with nights behind it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from audit.models import Stream
from backups import policies
from backups.models import BackupSet
from backups.nightly import back_up
from backups.policy import Policy
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.conftest import Clock


@pytest.fixture
def policy(transactional_db: None, acting: Any, clock: Clock) -> Policy:
    """Four nights, then two weeks, so that few nights tell all; in force for long."""
    first = Policy(1, clock() - timedelta(days=4000), nightly_days=4, weekly_weeks=2)
    policies._add(1, first, zone="UTC", made_by="test", reason="a test")
    return first


@pytest.fixture
def nights(vault: Vault, clock: Clock, policy: Policy) -> Callable[..., list[BackupSet]]:
    """So many nights of a customer, a changed record and a set each; the clock stands a day behind the last."""

    def lived(customer: Any, count: int, *, days: float = 1) -> list[BackupSet]:
        made = []
        for number in range(count):
            DataRecord.objects.update_or_create(
                customer=customer, kind="part", reference="1", defaults={"data": {"night": clock().isoformat(), "n": number}}
            )
            made.append(back_up(vault, Stream.objects.get(pk=customer.pk), workers=0).backup_set)
            clock.forward(days=days)
        return made

    return lived
