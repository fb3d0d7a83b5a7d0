"""Backups are whole: every stored byte is read again and checked, damage is found and mended."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from audit.promises import Standing
from backups.models import Blob, Damage
from backups.verification import carrying_out as verifying
from backups.verification.carrying_out import Wanted
from tests.backups.test_restore import flip
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P4")]

NINTH = date(2026, 3, 9)
ALL = Wanted(everything=True, workers=0)


@pytest.fixture
def damaged(service: Service, acme: Any, folders: dict[str, Path]) -> Path:
    """After a night, a stored object at the offsite location with a byte that is another one."""
    service.night(NINTH)
    service.vault.usable()
    assert service.broken() == set()
    found = folders["offsite"] / Blob.objects.filter(stream=acme.pk, kind=Blob.Kind.BLOB)[0].name
    flip(found)
    return found


def test_a_damaged_byte_is_found_and_mended(service: Service, damaged: Path, folders: dict[str, Path]) -> None:
    verifying.carry_out(service.vault, ALL)
    whole = folders["primary"] / damaged.relative_to(folders["offsite"])
    assert damaged.read_bytes() == whole.read_bytes()
    assert Damage.objects.get().mended_from == "primary"
    assert service.measured()["P4"] is Standing.KEPT


def test_damage_that_is_not_mended_turns_it_red_until_it_is(service: Service, damaged: Path) -> None:
    verifying.carry_out(service.vault, Wanted(everything=True, workers=0, mending=False))
    assert service.broken() == {"P4"}
    assert service.state("verification").figure.startswith("1 object damaged") and service.state("verification").value == 1
    assert service.findings() == ["control:verification"]
    verifying.carry_out(service.vault, ALL)
    assert service.broken() == set() and service.state("verification").value == 0


def test_damage_at_every_location_stays_red_until_one_has_the_bytes_again(
    service: Service, damaged: Path, folders: dict[str, Path]
) -> None:
    other = folders["primary"] / damaged.relative_to(folders["offsite"])
    bytes_before = other.read_bytes()
    flip(other)
    verifying.carry_out(service.vault, ALL)
    assert service.broken() == {"P4"} and "damaged at every location" in service.state("verification").why
    other.write_bytes(bytes_before)
    service.clock.forward(hours=24)
    service.vault.usable()
    verifying.carry_out(service.vault, ALL)
    assert "P4" not in service.broken()


def test_an_object_that_was_not_read_within_its_period_turns_it_red(service: Service, acme: Any) -> None:
    service.night(NINTH)
    service.clock.forward(days=30, hours=1)
    assert service.measured()["P4"] is Standing.AT_RISK
    service.clock.forward(days=2)
    assert service.measured()["P4"] is Standing.BROKEN
    verifying.carry_out(service.vault, ALL)
    assert service.measured()["P4"] is Standing.KEPT
    assert service.clock() - service.state("verification").since < timedelta(minutes=1)
