"""Test restores are made regularly, and prove that the backups work."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.models import Stream
from audit.promises import Standing
from backups.models import BackupSet, TestCell, TestRestore
from backups.test_restores import coverage, orders
from backups.test_restores.carrying_out import carry_out
from tests.backups.test_restore import flip
from tests.backups.test_restores.test_failing import blobs_of_set
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P7")]

NINTH = date(2026, 3, 9)


def results(service: Service, customer: Any) -> list[str]:
    """The customer's cells, tested now; what the tests came to."""
    stream = Stream.objects.get(pk=customer.pk)
    made = orders.ask(service.vault, stream, service.clock(), reason="a test")
    done = [carry_out(service.vault, one.pk) for one in made]
    return [one.result.result for one in done if one is not None and one.result is not None]


@pytest.mark.slow
def test_a_test_that_fails_turns_it_red_until_one_passes(service: Service, acme: Any, folders: dict[str, Path]) -> None:
    service.night(NINTH)
    assert service.broken() == set()
    damaged = blobs_of_set(folders["offsite"], BackupSet.objects.get(stream=acme.pk))[0]
    flip(damaged)
    assert sorted(results(service, acme)) == ["failed", "passed"]
    assert service.broken() == {"P7"}
    assert "1 failed" in service.state("test_restores").figure and service.findings() == ["control:test_restores"]
    flip(damaged)
    assert results(service, acme) == ["passed", "passed"]
    assert service.broken() == set()
    assert all(test.document["signed_by"] for test in TestRestore.objects.all())


def test_nights_whose_tests_nobody_plans_put_it_at_risk(service: Service, acme: Any) -> None:
    """What nobody looks for is not late by any list."""
    service.night(NINTH)
    assert service.measured()["P7"] is Standing.KEPT
    service.clock.forward(days=3)
    assert service.measured()["P7"] is Standing.AT_RISK
    assert service.state("test_restores").figure == "nothing to test yet" and "planned" in service.state("test_restores").why
    service.night(service.clock.now.date())
    assert orders.plan_night(service.vault, service.clock()) is None  # the night before is over, this one's hour is not come
    service.clock.forward(hours=18)
    assert orders.plan_night(service.vault, service.clock()) is not None
    assert service.measured()["P7"] is Standing.KEPT


def test_what_is_not_tested_within_its_days_turns_it_red(service: Service, acme: Any) -> None:
    service.night(NINTH)
    policy = service.vault.in_force(service.clock())
    assert policy is not None
    coverage.refresh(policy, service.clock())
    assert service.measured()["P7"] is Standing.KEPT and TestCell.objects.exists()
    due = min(TestCell.objects.values_list("due_at", flat=True))
    service.clock.now = due + timedelta(days=1)
    assert service.measured()["P7"] is Standing.AT_RISK
    service.clock.now = due + timedelta(days=8)
    assert service.measured()["P7"] is Standing.BROKEN
