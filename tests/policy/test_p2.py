"""Between the nights, hot backups follow every change up to the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backups import vault as vaults
from backups.hot import shipper
from subscriptions.models import DataRecord
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P2")]


@pytest.fixture
def now(today: Any, service: Service) -> Service:
    """The service today: what waits is as old as it is."""
    service.vault = replace(service.vault, clock=vaults.clock)
    service.clock.now = datetime.now(UTC)
    return service


def test_a_stopped_shipper_with_waiting_changes_turns_it_red_until_it_runs(now: Service, acme: Any) -> None:
    assert "P2" not in now.broken()
    assert now.state("loss_window").figure.startswith("nothing would be lost now")
    now.ships = False
    DataRecord.objects.create(customer=acme, kind="part", reference="waits", data={})
    now.clock.now = datetime.now(UTC) + timedelta(minutes=3)
    assert now.broken() == {"P2"}
    state = now.state("loss_window")
    assert "changes, the oldest written" in state.figure and 170 < (state.value or 0) < 200 and "No shipper leads" in state.why
    assert now.findings() == ["control:loss_window"]
    now.ships = True
    assert now.broken() == set()
    assert now.state("loss_window").value == 0


def test_a_change_is_durable_at_every_location_when_it_was_shipped(now: Service, acme: Any) -> None:
    from backups.hot import figures

    assert shipper.ship_once(now.vault) == []
    DataRecord.objects.create(customer=acme, kind="part", reference="new", data={})
    assert figures.now(datetime.now(UTC)).nowhere_else.changes == 1  # type: ignore[union-attr]
    assert shipper.ship_once(now.vault) == []
    found = figures.now(datetime.now(UTC))
    assert [place.lag.changes for place in found.places] == [0, 0]
