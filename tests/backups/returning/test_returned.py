"""What a customer gets back is all of it, verified by anybody, and comes in again (P10)."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
import threading
import time
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from pyrage import decrypt
from pyrage.x25519 import Identity

import audit
from audit import freezes, registry
from audit.errors import Frozen
from audit.models import Event, Stream
from backups import policies, runs
from backups.errors import NotHandedOver, NotReturned
from backups.models import BackupPolicy, BackupSet, ReturnWork, Run
from backups.returning import beside, carrying_out, excusing, freezing, handing_over, packages
from backups.returning import packing as packing_module
from backups.vault import Vault
from subscriptions.ending import returns
from subscriptions.ending.requests import freeze_reason
from subscriptions.importing import import_content
from subscriptions.models import Customer, DataRecord, DataReturn, DeletionRequest, Export, Link, UploadedContent
from subscriptions.onboarding import add_customer
from tests.backups.returning.conftest import attempt
from tests.subscriptions.test_bag import accepted

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def unpacked(package: DataReturn, folder: Path) -> Path:
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    (bag,) = folder.iterdir()
    return bag


def returned(vault: Vault, request: DeletionRequest) -> DataReturn:
    done = attempt(vault, request)
    assert (done.trouble, request.state) == ("", "returned")
    package = returns.current(request)
    assert package is not None
    return package


def stored(upload: UploadedContent) -> bytes:
    with upload.file.open() as file:
        return file.read()


def live(customer: Any) -> Any:
    records = {(one.kind, one.reference): one.data for one in DataRecord.objects.filter(customer=customer)}
    uploads = {one.name: stored(one) for one in UploadedContent.objects.filter(customer=customer)}
    return records, uploads, {one.reference: (one.title, one.url) for one in Link.objects.filter(customer=customer)}


def test_the_package_is_accepted_by_the_standard_tools_and_holds_everything(asked: Any, ended: Any, vault: Vault, tmp_path: Path) -> None:
    package = returned(vault, asked)
    bag = unpacked(package, tmp_path / "out")
    accepted(bag)
    done = subprocess.run(
        [sys.executable, "-I", str(bag / "verify_return.py"), "--trust", vault.fingerprint], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "which you trust" in done.stdout
    for protected in registry.of_stream(ended.pk):
        rows = (bag / "data/rows" / f"{protected.label}.ndjson").read_text().splitlines()
        history = (bag / "data/history" / f"{protected.label}.ndjson").read_text().splitlines()
        assert len(rows) == protected.rows(ended.pk).count()
        assert len(history) == protected.history_model.objects.filter(history_stream=ended.pk).count()
        with (bag / "data/rows" / f"{protected.label}.csv").open(newline="") as file:
            assert len(list(csv.DictReader(file))) == len(rows)
    versions = [json.loads(line) for line in (bag / "data/history/l2l_subscriptions.uploadedcontent.ndjson").read_text().splitlines()]
    with (bag / "data/files.csv").open(newline="") as file:
        stored = {row["stored_name"]: row for row in csv.DictReader(file)}
    for version in versions:
        if version["history_type"] != "-":
            content = (bag / stored[version["file"]]["path"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == version["sha256"]
            assert version["history_actor"] and version["history_change_reason"] and version["history_date"]
    assert package.package_sha256 == hashlib.sha256(Path(package.path).read_bytes()).hexdigest()
    assert BackupSet.objects.get(pk=package.set_id).protected_at is not None


def test_it_comes_in_again_into_an_empty_customer(asked: Any, ended: Any, vault: Vault, tmp_path: Path) -> None:
    bag = unpacked(returned(vault, asked), tmp_path / "out")
    empty = add_customer("empty", "Empty", start=date(2026, 1, 1))
    report = import_content(empty, bag / "data/import")
    assert report.ok, report.refused
    assert live(empty) == live(ended)


def test_nobody_writes_from_the_freeze_on(asked: Any, ended: Any, vault: Vault) -> None:
    returned(vault, asked)
    assert asked.frozen_at == vault.clock() and freezing.is_ours(asked)
    with pytest.raises(Frozen):
        DataRecord.objects.create(customer=ended, kind="late", reference="1", data={})


def test_what_a_transaction_wrote_that_began_before_the_freeze_is_in_the_package(
    asked: Any, ended: Any, vault: Vault, tmp_path: Path
) -> None:
    begun = threading.Event()

    def write() -> None:
        with audit.acting("bob", reason="a test", source="test"), transaction.atomic():
            DataRecord.objects.create(customer=ended, kind="late", reference="begun before", data={})
            begun.set()
            time.sleep(0.3)  # the freeze waits meanwhile, if it is quick
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(10)
    attempt(vault, asked, ship=False)
    writer.join()
    bag = unpacked(returned(vault, asked), tmp_path / "out")
    assert "begun before" in (bag / "data/records/late.csv").read_text()
    with pytest.raises(Frozen):
        DataRecord.objects.create(customer=ended, kind="late", reference="begun after", data={})


def test_a_worker_whose_machine_is_gone_is_followed(asked: Any, vault: Vault, clock: Any) -> None:
    carrying_out.look(clock())
    ReturnWork.objects.update(state=ReturnWork.State.RUNNING, attempts=1, holder="elsewhere:1:1", progress_at=clock())
    carrying_out.look(clock())
    assert ReturnWork.objects.get().state == ReturnWork.State.RUNNING
    clock.forward(hours=2)
    returned(vault, asked)


def test_a_second_attempt_does_nothing_more(asked: Any, vault: Vault) -> None:
    returned(vault, asked)
    row = ReturnWork.objects.get()
    carrying_out.look(vault.clock())
    assert carrying_out.carry_out(vault, row.pk) is None and carrying_out.waiting(vault.clock()) == []
    assert DataReturn.objects.count() == 1


def test_it_waits_for_the_hot_backup(asked: Any, vault: Vault) -> None:
    done = attempt(vault, asked, ship=False)
    assert asked.state == "returning" and "Waiting for the hot backup" in done.trouble and asked.frozen_at
    returned(vault, asked)


def test_it_waits_for_somebody_elses_freeze_and_leaves_it(asked: Any, ended: Any, vault: Vault) -> None:
    theirs = freezes.freeze(ended.pk, reason="a live restore")
    done = attempt(vault, asked)
    assert "a live restore" in done.trouble and asked.frozen_at is None
    assert freezes.thaw_same(theirs)
    returned(vault, asked)


def test_it_waits_for_a_location_and_uses_the_final_set_when_that_is_back(
    asked: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path
) -> None:
    assert attempt(vault, asked, ship=False).trouble
    from backups.hot.shipper import ship_once

    ship_once(vault)
    folders["offsite"].rename(tmp_path / "away")
    done = attempt(vault, asked, ship=False)
    assert asked.state == "returning" and "not at every required location" in done.trouble and "offsite" in done.trouble
    (tmp_path / "away").rename(folders["offsite"])
    returned(vault, asked)
    assert BackupSet.objects.filter(state=BackupSet.State.MADE).count() == 1


def test_rows_that_history_does_not_know_stop_it(asked: Any, ended: Any, vault: Vault) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE l2l_subscriptions_link SET title = 'past history'")
    done = attempt(vault, asked)
    assert asked.state == "returning" and "not what history says" in done.trouble
    attempt(vault, asked)
    assert BackupSet.objects.count() == 1, "no set after set of what nobody has set right"


def test_wrong_bytes_on_the_disk_are_found_and_nothing_is_given_out(
    asked: Any, vault: Vault, exports_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packing_module.flush

    def flips(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.write_bytes(data)
        real(path)

    with monkeypatch.context() as patched:
        patched.setattr(packing_module, "flush", flips)
        done = attempt(vault, asked)
    assert asked.state == "returning" and done.trouble
    assert not DataReturn.objects.exists() and not Export.objects.exists() and list(exports_folder.iterdir()) == []
    returned(vault, asked)


def test_a_full_disk_leaves_nothing_and_it_is_tried_again(
    asked: Any, vault: Vault, exports_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(packing_module, "flush", full)
        done = attempt(vault, asked)
    assert "No space left" in done.trouble and done.state == ReturnWork.State.WAITING and asked.state == "returning"
    assert list(exports_folder.iterdir()) == []
    returned(vault, asked)


def test_it_is_sealed_for_the_customers_own_key(asked: Any, vault: Vault, tmp_path: Path, django_user_model: Any) -> None:
    from backups.returning import encrypting

    identity = Identity.generate()
    boss = django_user_model.objects.create_superuser("boss")
    with pytest.raises(NotReturned, match="no age recipient"):
        encrypting.choose(asked, "age1nonsense", by=boss)
    encrypting.choose(asked, str(identity.to_public()), by=boss)
    package = returned(vault, asked)
    sealed = Path(package.path).read_bytes()
    assert package.file_name == "acme-return-1.zip.age" and package.encrypted_to == str(identity.to_public())
    assert hashlib.sha256(sealed).hexdigest() == package.package_sha256
    (tmp_path / "opened.zip").write_bytes(decrypt(sealed, [identity]))
    command = [sys.executable, beside.__file__.replace("beside", "verify_return"), str(tmp_path / "opened.zip")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [path.name for path in Path(package.path).parent.iterdir()] == [package.file_name]


def test_it_is_handed_over_to_whom_it_may_and_each_time_recorded(asked: Any, vault: Vault, clock: Any, django_user_model: Any) -> None:
    package = returned(vault, asked)
    boss, nobody = django_user_model.objects.create_superuser("boss"), django_user_model.objects.create_user("nobody")
    with pytest.raises(NotHandedOver, match="needs the right"):
        handing_over.by_staff(package, by=nobody, now=clock())
    for response in (
        handing_over.by_staff(package, by=boss, now=clock()),
        handing_over.by_link(handing_over.link(package, now=clock()), now=clock()),
    ):
        assert hashlib.sha256(b"".join(response.streaming_content)).hexdigest() == package.package_sha256
        assert response["Content-Length"] == str(package.size) and "attachment" in response["Content-Disposition"]
    package.refresh_from_db()
    assert package.delivered_at == clock()
    assert sorted(one.facts["way"] for one in Event.objects.filter(event="return:handed-over")) == ["link", "staff"]


def test_a_link_ends_and_is_for_its_package_alone(asked: Any, vault: Vault, clock: Any) -> None:
    package = returned(vault, asked)
    token = handing_over.link(package, now=clock())
    with pytest.raises(NotHandedOver, match="not one of ours"):
        handing_over.linked(token[:-2] + "xx", now=clock())
    clock.forward(days=7)
    with pytest.raises(NotHandedOver, match="could be used until"):
        handing_over.linked(token, now=clock())
    token = handing_over.link(package, now=clock())
    returns.report_fault(package, what="it does not open", by_name="Ms Customer", now=clock())
    with pytest.raises(NotHandedOver, match="A fault"):
        handing_over.linked(token, now=clock())


def test_after_a_fault_another_one_takes_its_place_from_the_same_set(asked: Any, vault: Vault, clock: Any) -> None:
    first = returned(vault, asked)
    returns.report_fault(first, what="it does not open", by_name="Ms Customer", now=clock())
    second = returned(vault, asked)
    assert (second.number, second.set_id) == (2, first.set_id) and Path(second.path).exists() and Path(first.path).exists()
    carrying_out.look(clock())
    first.refresh_from_db()
    assert not Path(first.path).exists() and first.removed_at and Path(second.path).exists()
    assert Export.objects.get(path=first.path).removed_at and not Export.objects.get(path=second.path).removed_at
    assert packages.remove_all(asked, now=clock()) == []
    assert not Path(second.path).exists()


def test_its_nights_are_excused_and_stay_in_the_list(asked: Any, ended: Any, vault: Vault, clock: Any) -> None:
    policies.ensure_first_policy()
    BackupPolicy.objects.tracked_change(in_force_from=datetime(2026, 2, 1, 13, 0, tzinfo=UTC))
    Customer.objects.tracked_change(created_at=datetime(2026, 2, 20, tzinfo=UTC))
    clock.now = datetime(2026, 2, 27, 22, 0, tzinfo=UTC)
    runs.owe_nights(clock())
    owed = Run.objects.filter(stream=ended.pk, kind=Run.Kind.BACKUP, state=Run.State.OWED).count()
    assert owed and excusing.excuse_nights(clock()) == owed
    assert not runs.due_runs(clock()).filter(stream=ended.pk).exists() and runs.due_runs(clock()).exists()
    night = runs.night_report(Run.objects.filter(stream=ended.pk).latest("night").night, clock())
    assert night.counts["excused"] == 1 and not night.unaccounted
    assert set(Event.objects.filter(event="run:excused").values_list("customer", flat=True)) == {ended.pk}


def test_a_freeze_that_is_gone_stands_again(asked: Any, vault: Vault) -> None:
    returned(vault, asked)
    freezes.thaw(asked.stream)  # as a recovery of the service leaves it
    freezing.keep_frozen()
    assert Stream.objects.get(pk=asked.stream).frozen_reason == freeze_reason(asked)
