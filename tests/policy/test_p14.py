"""Any record, file or link comes back from any restore point, by itself, whenever it is needed."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from audit import registry
from backups import item_exports
from backups.item_exports import folder_of
from backups.models import ItemExport
from subscriptions.models import DataRecord
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P14")]

NINTH = date(2026, 3, 9)


@pytest.fixture
def record(service: Service, acme: Any, settings: Any, tmp_path: Path) -> DataRecord:
    """A record in last night's set."""
    settings.L2L_EXPORTS = tmp_path / "exports"
    found = DataRecord.objects.create(customer=acme, kind="part", reference="P-77", data={"Name": "the wanted one"})
    service.night(NINTH)
    return found


def asked(service: Service, record: DataRecord) -> ItemExport:
    protected = registry.of(DataRecord)
    return item_exports.ask(record.customer_id, protected, str(record.pk), None, service.clock(), reason="the customer asked for it")


def test_an_item_that_cannot_be_brought_turns_it_red_until_it_comes(service: Service, record: DataRecord) -> None:
    assert service.broken() == set()
    lost = asked(service, record)
    item_exports.make(replace(service.vault, places=()), lost.pk)
    lost.refresh_from_db()
    assert lost.state == "failed" and lost.trouble
    service.clock.forward(minutes=3)
    assert service.broken() == {"P14"}
    assert service.state("item_exports").figure.startswith("0 of 1 item brought") and service.findings() == ["control:item_exports"]
    again = asked(service, record)
    service.clock.forward(minutes=2)
    made = item_exports.make(service.vault, again.pk)
    assert made is not None and made.state == "ready"
    with zipfile.ZipFile(folder_of(made) / item_exports.ZIP) as archive:
        rows = [name for name in archive.namelist() if name.endswith("rows/l2l_subscriptions.datarecord.ndjson")]
        assert [json.loads(line)["reference"] for line in archive.read(rows[0]).decode().splitlines()] == ["P-77"]
    assert service.broken() == set() and service.state("item_exports").value == 2


def test_an_item_that_waits_for_a_day_turns_it_red(service: Service, record: DataRecord) -> None:
    asked(service, record)
    service.clock.forward(hours=25)
    assert "P14" in service.broken()
