"""Marks planted in everything of a customer: after its destruction none is found, anywhere, with keys kept aside (P12).

The same search, on the living customer, finds every single one of them.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

from audit.models import Stream
from backups.customerkeys import key_at
from backups.hot import shipper
from backups.models import BackupSet, Certificate, ItemExport, Run
from backups.restore import restore
from backups.vault import Vault
from backups.verification.carrying_out import Wanted, carry_out
from subscriptions.models import Customer, DataRecord, DeletionRequest, Export
from subscriptions.onboarding import add_customer
from tests.backups.conftest import Clock
from tests.backups.destroy import marks as stains
from tests.backups.destroy.conftest import looked, state_of
from tests.backups.destroy.marks import Marks
from tests.backups.test_back_up import backed_up

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def acme(people: Any, vault: Vault, marks: Marks, folders: dict[str, Path], clock: Clock, settings: Any, tmp_path: Path) -> Customer:
    """In the place of the usual customer: one whose every column is marked; backed up nightly and hot, restored, exported, damaged."""
    settings.L2L_EXPORTS = tmp_path / "exports"
    settings.L2L_EXPORTS.mkdir()
    customer = add_customer("acme", "Acme Bicycles", start=date(2026, 1, 1))
    customer.account_manager = people["ada"]
    customer.save()
    stains.plant(customer, marks)
    assert shipper.ship_once(vault) == []
    backed_up(vault, customer)
    stains.plant(customer, marks)
    assert shipper.ship_once(vault) == []
    backed_up(vault, customer)
    _damage(vault, folders, customer)
    restore(vault, customer, tmp_path / "exports" / "taken", reason=marks.new("reason of an export"))
    _write_texts(customer, marks, clock())
    return customer


def _damage(vault: Vault, folders: dict[str, Path], customer: Customer) -> None:
    """One blob is altered at a location and mended; what stood there was set aside."""
    blob = next((folders["offsite"] / "customers" / str(customer.pk) / "blobs").rglob("*/*"))
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    carry_out(vault, Wanted(None, [customer.pk], True, True), lambda _: None)
    assert list((folders["offsite"] / "customers" / str(customer.pk) / "damaged").iterdir())


def _write_texts(customer: Customer, marks: Marks, now: datetime) -> None:
    """Where texts of the customer stand beside its content."""
    record = DataRecord.objects.filter(customer=customer).latest("pk")
    kind = ContentType.objects.get_for_model(DataRecord)
    about = {"user_id": customer.account_manager_id, "content_type": kind, "object_id": str(record.pk), "action_flag": CHANGE}
    LogEntry.objects.create(**about, object_repr=marks.new("admin log"), change_message=marks.new("admin log's message"))
    stream = Stream.objects.get(pk=customer.pk)
    ItemExport.objects.create(
        stream=stream,
        model="l2l_subscriptions.datarecord",
        key=marks.new("item export's key"),
        by="ada",
        reason=marks.new("item export's reason"),
        asked_at=now,
        state=ItemExport.State.FAILED,
        trouble=marks.new("item export's trouble"),
        notes=marks.new("item export's notes"),
    )
    Export.objects.create(
        customer=customer,
        what=marks.new("what an export was"),
        by="ada",
        reason=marks.new("why an export was"),
        path="/nowhere",
        made_at=now,
        expires_at=now,
    )
    OrmQ.objects.create(key="worker", payload=SignedPackage.dumps({"args": (marks.new("queue"),)}), lock=now)
    at = datetime.now(UTC) - timedelta(days=1)
    Task.objects.create(
        id="f" * 32, name="n", func="f", args=(marks.new("failed task"),), started=at, stopped=at, success=False, result="x"
    )
    BackupSet.objects.filter(stream=stream).update(proof_text=f"{marks.new('proof')}: differs", trouble=marks.new("set's trouble"))
    Run.objects.create(
        stream=stream,
        night=now.date(),
        policy=1,
        due_at=now,
        ends_at=now,
        next_try_at=now,
        state=Run.State.FAILED,
        trouble=marks.new("run's trouble"),
        progress=marks.new("run's progress"),
    )


@pytest.fixture
def kept_keys(received: DeletionRequest, vault: Vault, folders: dict[str, Path]) -> list[Any]:
    """The customer's keys, as somebody may have put them aside."""
    numbers = {int(path.stem.partition("-")[0]) for path in (folders["primary"] / "keys" / str(received.stream)).iterdir()}
    return [key_at(vault.keys, vault.places, str(received.stream), number, []).identity for number in numbers]


def test_the_search_finds_every_mark_of_a_living_customer(
    received: DeletionRequest, marks: Marks, kept_keys: list[Any], folders: dict[str, Path], uploads: Path, tmp_path: Path
) -> None:
    assert len(marks.planted) > 150
    in_tables = b"\n".join(stains.rows_showing().values())
    on_disk = b"\n".join(Path(one).read_bytes() for one in stains.showing_files(uploads, tmp_path / "exports"))
    not_kept = {mark for mark, where in marks.planted.items() if where.startswith("name of ")}  # a stored file has a random name
    lost = set(marks.planted) - stains.marks_in(in_tables + on_disk, marks) - not_kept
    assert {marks.planted[mark] for mark in lost} == set()
    content = {mark for mark, where in marks.planted.items() if "." in where} - not_kept
    for folder in folders.values():
        opened = b"\n".join(plain for _, plain in stains.opened_objects([folder], kept_keys))
        assert {marks.planted[mark] for mark in content - stains.marks_in(opened, marks)} == set()
    if connection.vendor == "sqlite":
        assert any(stains.shows(one.read_bytes()) for one in stains.database_files())
    else:
        assert stains.shows(stains.dump())


def test_after_the_destruction_no_mark_is_anywhere(
    kept_keys: list[Any],
    approved: DeletionRequest,
    vault: Vault,
    clock: Clock,
    marks: Marks,
    folders: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO):
        assert looked(vault).troubles == {}
        clock.forward(hours=25)
        assert looked(vault).troubles == {}
    assert state_of(approved) == "destroyed"
    assert sorted(stains.rows_showing()) == []
    assert stains.showing_files(tmp_path) == []
    assert [path for path, plain in stains.opened_objects(list(folders.values()), kept_keys)] == []
    assert not stains.shows(caplog.text.encode())
    assert not any(stains.shows(one.document.encode()) for one in Certificate.objects.all())
    if connection.vendor == "sqlite":
        assert [one.name for one in stains.database_files() if stains.shows(one.read_bytes())] == []
    else:
        assert not stains.shows(stains.dump())
