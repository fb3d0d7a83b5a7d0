"""Everything of an ended customer goes, everywhere, in its order, and nothing of anybody else (P12)."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

import audit
from audit.errors import Frozen
from audit.models import Event, Finding, Stream
from backups.destroy import inventory
from backups.errors import StreamEnded
from backups.hot import shipper
from backups.models import BackupSet, Blob, DestructionStep, DestructionSweep, Run, UnknownObject
from backups.nightly import back_up
from backups.restore import restore
from backups.runs import owe_nights
from backups.vault import Vault
from backups.verification.carrying_out import Wanted
from backups.verification.carrying_out import carry_out as verify
from subscriptions import holds
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.conftest import Clock
from tests.backups.destroy.conftest import looked, state_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def files_of(folder: Path, customer: Any) -> list[str]:
    """The files at a location that have something of the customer, but for the marker. (A segment's index may name who waited then.)"""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent.name != "ended":
            name = str(path.relative_to(folder))
            if str(customer.pk) in name or (name.endswith(".tar") and f"{customer.pk}.age".encode() in path.read_bytes()):
                found.append(name)
    return found


def rows_of(customer: Any) -> int:
    return inventory.in_database(customer.pk).rows


def restored(vault: Vault, customer: Any, folder: Path, location: str) -> Any:
    return restore(vault.only(location), customer, folder).counts


def test_all_of_it_goes_and_nothing_of_its_neighbour(
    acme: Customer, acme2: Customer, approved: DeletionRequest, vault: Vault, folders: dict[str, Path], uploads: Path, tmp_path: Path
) -> None:
    before = {place: restored(vault, acme2, tmp_path / f"before-{place}", place) for place in folders}
    rows = rows_of(acme2)
    assert all(files_of(folder, acme) for folder in folders.values())
    assert looked(vault).begun == ["acme"]
    for name, folder in folders.items():
        assert files_of(folder, acme) == [], name
        assert (folder / "ended" / f"{acme.pk}.json").exists()
    assert rows_of(acme) == 0 and not list((uploads / "uploads").glob(f"{acme.pk}*"))
    assert not (tmp_path / "acme.zip").exists() and approved.returns.get().removed_at is not None
    assert not Blob.objects.filter(stream=acme.pk).exists()
    assert set(BackupSet.objects.filter(stream=acme.pk).values_list("state", flat=True)) == {"removed"}
    assert rows_of(acme2) == rows
    assert {place: restored(vault, acme2, tmp_path / f"after-{place}", place) for place in folders} == before
    assert all(files_of(folder, acme2) for folder in folders.values())


def test_the_neighbour_loses_no_second(acme: Customer, acme2: Customer, approved: DeletionRequest, vault: Vault, tmp_path: Path) -> None:
    """A change that only a shared segment holds, of a customer whose newest set is older."""
    DataRecord.objects.create(customer=acme2, kind="part", reference="only in a segment")
    assert shipper.ship_once(vault) == []
    looked(vault)
    from backups.choosing import At

    report = restore(vault.only("offsite"), acme2, tmp_path / "out", at=At(None))
    rows = (tmp_path / "out" / "rows" / "l2l_subscriptions.datarecord.ndjson").read_text()
    assert report.good and "only in a segment" in rows


def test_steps_are_recorded_in_their_order_and_nobody_can_make_the_customer_again(
    acme: Customer, approved: DeletionRequest, vault: Vault, tmp_path: Path
) -> None:
    looked(vault)
    steps = list(DestructionStep.objects.filter(request=approved).order_by("id").values_list("step", "location"))
    assert [one for one, _ in steps[:2]] == ["marker", "marker"] and [one for one, _ in steps[-2:]] == ["keys", "keys"]
    assert not DestructionStep.objects.filter(request=approved, done_at=None).exists()
    told = Event.objects.filter(event="destruction:step", customer=acme.pk).count()
    assert told == len(steps)
    stream = Stream.objects.get(pk=acme.pk)
    with pytest.raises(StreamEnded):
        back_up(vault, stream)
    with pytest.raises(StreamEnded):
        restore(vault, acme, tmp_path / "out")
    with pytest.raises(Frozen):
        DataRecord.objects.create(customer=acme, kind="part", reference="back again")


def test_nobody_misses_it_afterwards(acme: Customer, acme2: Customer, approved: DeletionRequest, vault: Vault, clock: Clock) -> None:
    looked(vault)
    turns = verify(vault, Wanted(everything=True, workers=0))
    assert all(turn.found == 0 for turn in turns) and not UnknownObject.objects.exists()
    clock.forward(days=2)
    owe_nights(clock())
    assert not Run.objects.filter(stream=acme.pk, state__in=("owed", "missed")).exists()
    assert Run.objects.filter(stream=acme2.pk).exists()
    assert shipper.ship_once(vault) == []


def test_it_is_looked_for_at_once_after_a_day_and_after_a_week(approved: DeletionRequest, vault: Vault, clock: Clock) -> None:
    looked(vault)
    stages = DestructionSweep.objects.filter(request=approved).order_by("swept_at")
    assert [one.stage for one in stages] == ["at once"] and state_of(approved) == "destroying"
    clock.forward(hours=23)
    looked(vault)
    assert state_of(approved) == "destroying"
    clock.forward(hours=1)
    assert looked(vault).gone == ["acme"] and state_of(approved) == "destroyed"
    clock.forward(days=6)
    looked(vault)
    assert [one.stage for one in stages.all()] == ["at once", "day", "week"] and all(one.clean for one in stages.all())


def test_a_find_opens_the_case_again_and_is_destroyed(
    acme: Customer, approved: DeletionRequest, vault: Vault, clock: Clock, folders: dict[str, Path]
) -> None:
    looked(vault)
    clock.forward(hours=24)
    looked(vault)
    assert state_of(approved) == "destroyed"
    stray = folders["offsite"] / "customers" / str(acme.pk) / "blobs" / "ab" / ("ab" * 32)
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"an old copy")
    clock.forward(days=6)
    assert "found something again" in looked(vault).troubles["acme"]
    assert state_of(approved) == "destroying" and Finding.objects.filter(closed_at=None, kind="destruction-late").exists()
    looked(vault)
    assert not stray.exists() and state_of(approved) == "destroying"
    clock.forward(hours=24)
    looked(vault)
    assert state_of(approved) == "destroyed"


def test_a_location_that_is_down_waits_and_finishes_when_it_is_back(
    acme: Customer, approved: DeletionRequest, vault: Vault, clock: Clock, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from backups.destroy import carrying_out

    with audit.acting("destroyer", reason="a test", source="test"):
        assert carrying_out.begin(vault, approved) == []
    away = folders["offsite"].with_name("away")
    shutil.move(folders["offsite"], away)
    clock.forward(days=1)
    trouble = looked(vault).troubles["acme"]
    assert "offsite" in trouble and state_of(approved) == "destroying"
    assert not [name for name in files_of(folders["primary"], acme) if not name.startswith("hot/")]
    assert files_of(away, acme) and rows_of(acme) == 0
    assert Event.objects.filter(event="destruction:late").count() == 1
    clock.forward(days=3)
    looked(vault)
    assert not DestructionSweep.objects.exists()
    shutil.move(away, folders["offsite"])
    report = looked(vault)
    assert not any(files_of(folder, acme) for folder in folders.values()), report
    assert DestructionSweep.objects.get().clean
    assert not Finding.objects.filter(kind="destruction-late", closed_at=None).exists()


def test_a_hold_placed_in_the_middle_stops_at_the_next_step(
    acme: Customer, approved: DeletionRequest, vault: Vault, people: dict[str, User], folders: dict[str, Path], monkeypatch: Any
) -> None:
    from backups.destroy import texts

    removed = texts.remove

    def then_held(*args: Any) -> Any:
        gone = removed(*args)
        with audit.acting("otto", reason="a test", source="test"):
            people["rita"].is_superuser = True
            people["rita"].save()
            holds.place(acme, holder="A court", basis="12 O 34/26", review_on=date(2030, 1, 1), by=people["rita"], now=vault.clock())
        return gone

    monkeypatch.setattr(texts, "remove", then_held)
    assert "legal hold" in looked(vault).troubles["acme"]
    assert all([name for name in files_of(folder, acme) if name.startswith("customers/")] for folder in folders.values())
    monkeypatch.setattr(texts, "remove", removed)
    assert "legal hold" in looked(vault).troubles["acme"] and state_of(approved) == "destroying"


def test_texts_of_its_objects_leave_the_admin_log_and_no_others_do(
    acme: Customer, acme2: Customer, approved: DeletionRequest, vault: Vault, people: dict[str, User]
) -> None:
    kind = ContentType.objects.get_for_model(DataRecord)
    for customer in (acme, acme2):
        for record in DataRecord.objects.filter(customer=customer):
            about = {"content_type": kind, "object_id": str(record.pk), "object_repr": f"secret of {customer.code}", "action_flag": CHANGE}
            LogEntry.objects.create(user=people["ada"], change_message="secret", **about)
    looked(vault)
    assert not LogEntry.objects.filter(object_repr="secret of acme").exists()
    assert LogEntry.objects.filter(object_repr="secret of acme2").count() == DataRecord.objects.filter(customer=acme2).count()


def test_the_clock_in_doubt_destroys_nothing(acme: Customer, approved: DeletionRequest, vault: Vault, monkeypatch: Any) -> None:
    from backups.prune import clock_doubt

    monkeypatch.setattr(clock_doubt, "doubts_of", lambda *_: ["it is behind"])
    with pytest.raises(clock_doubt.ClockInDoubt):
        looked(vault)
    assert state_of(approved) == "approved" and rows_of(acme)


def test_before_it_has_cooled_off_nothing_is_touched(
    acme: Customer, received: DeletionRequest, people: dict[str, User], vault: Vault, clock: Clock
) -> None:
    from backups.destroy import planning

    seen = planning.plan_of(vault, received).digest
    planning.approve(vault, received, seen=seen, by=people["rita"], password="pw", code="acme", why="received", now=vault.clock())
    clock.forward(hours=71)
    assert looked(vault).begun == [] and state_of(received) == "approved" and rows_of(acme)
