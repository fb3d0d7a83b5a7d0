"""Every night a full backup of every customer's data is made."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from backups.restore import restore
from tests.backups.test_back_up import assert_restored
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P1")]

NINTH, TENTH, ELEVENTH = date(2026, 3, 9), date(2026, 3, 10), date(2026, 3, 11)


def test_each_customer_comes_back_whole_from_last_night(service: Service, acme: Any, beta: Any, tmp_path: Path) -> None:
    assert service.night(NINTH) == ["done", "done", "done"]
    for customer in (acme, beta):
        restore(service.vault, customer, tmp_path / customer.code, reason="a test")
        assert_restored(tmp_path / customer.code, customer)
    assert service.measured()["P1"] is Standing.AT_RISK  # nobody compared the list of customers with billing's
    assert service.state("nights").figure == "night of 9 Mar 2026: 3 of 3 backed up"


def test_a_night_that_was_skipped_turns_it_red_until_the_next_one_is_over(service: Service, acme: Any, beta: Any) -> None:
    service.night(NINTH)
    assert service.broken() == set()
    service.clock.forward(days=1)  # the tenth went by, and no worker ran
    service.vault.usable()
    assert service.broken() == {"P1"}
    assert service.state("nights").figure == "night of 10 Mar 2026: 0 of 3 backed up (3 waiting)"
    assert service.state("nights").value == 3 and "3 backups" in service.state("nights").why
    assert service.findings() == ["control:nights"]
    service.night(ELEVENTH)
    assert service.broken() == set()
    assert service.state("nights").figure == "night of 11 Mar 2026: 3 of 3 backed up"
    assert service.findings() == ["control:nights"]  # a person says what was the cause
