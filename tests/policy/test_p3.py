"""Copies are kept in several locations, at least one of them offsite."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from backups.models import BackupSet
from backups.restore import restore
from tests.backups.test_back_up import assert_restored
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P3")]

NINTH, TENTH = date(2026, 3, 9), date(2026, 3, 10)


@pytest.mark.parametrize("name", ["primary", "offsite"])
def test_each_location_alone_brings_everything_back(service: Service, acme: Any, name: str, tmp_path: Path) -> None:
    service.night(NINTH)
    assert BackupSet.objects.filter(protected_at=None).count() == 0
    restore(service.vault.only(name), acme, tmp_path / name, reason="a test")
    assert_restored(tmp_path / name, acme)


def test_a_location_that_is_pulled_is_at_risk_at_once_and_red_within_the_hour(
    service: Service, acme: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    service.night(NINTH)
    service.vault.usable()
    assert service.broken() == set() and service.state("copies").state == "kept"
    away = folders["offsite"].rename(tmp_path / "away")
    service.ships = False
    service.vault.usable()
    assert service.measured()["P3"] is Standing.AT_RISK
    assert service.state("copies").figure.startswith("1 of 2 locations can be used, 0 of them offsite")
    service.clock.forward(minutes=61)
    service.vault.usable()
    assert "P3" in service.broken()
    away.rename(folders["offsite"])
    service.vault.usable()
    assert "P3" not in service.broken()


def test_a_night_that_is_not_everywhere_turns_it_red_until_it_is(
    service: Service, acme: Any, folders: dict[str, Path], tmp_path: Path
) -> None:
    service.night(NINTH)
    service.vault.usable()
    assert service.broken() == set()
    away = folders["offsite"].rename(tmp_path / "away")
    assert set(service.night(TENTH)) == {"complete"}
    away.rename(folders["offsite"])
    service.vault.usable()
    assert service.broken() == {"P3"}
    assert "2 sets of nights that are over are not at every required location" in service.state("copies").why
    assert (service.state("copies").value or 0) > 0 and service.findings() == ["control:copies"]
    service.clock.forward(hours=1)
    assert set(service.work()) == {"done"}
    assert service.broken() == set() and service.state("copies").state == "kept"
    assert service.clock() - service.state("copies").since < timedelta(minutes=1)
