"""The customer acknowledges the receipt, and staff approve it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from subscriptions.ending.states import MoveRefused
from tests.policy.ending import over, packed, received
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P11")]


def test_a_receipt_of_another_file_is_none(today: Any, service: Service, acme: Any, people: Any, tmp_path: Path) -> None:
    acme.account_manager = people["ada"]
    acme.save()
    package = packed(over(acme, service), service, tmp_path)
    with pytest.raises(MoveRefused, match="not the digest"):
        received(package, people["ada"], service, package_sha256="00" * 32)
    assert received(package, people["ada"], service).state == "acknowledged"


def test_a_receipt_that_ages_turns_it_red_until_it_is_there(today: Any, service: Service, acme: Any, people: Any, tmp_path: Path) -> None:
    acme.account_manager = people["ada"]
    acme.save()
    package = packed(over(acme, service), service, tmp_path)
    assert service.broken() == set()
    service.clock.forward(days=15)
    assert service.measured()["P11"] is Standing.AT_RISK
    service.night((service.clock.now).date())
    service.clock.forward(days=15)
    service.night((service.clock.now).date())
    service.verify()
    assert service.broken() == {"P11"}
    assert service.state("receipts").figure.startswith("1 receipt outstanding, the oldest for 3")
    assert 30 < (service.state("receipts").value or 0) < 33
    assert service.findings()[-1] == "control:receipts"
    received(package, people["ada"], service)
    assert service.broken() == set() and service.state("receipts").figure == "0 receipts outstanding; 1 receipt to approve"
