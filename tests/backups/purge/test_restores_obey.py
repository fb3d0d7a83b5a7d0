"""A set from before a purge has the items still, and no way out of it gives them back (P9; design section 8)."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit import registry
from audit.models import JournalRow, Stream
from backups import item_exports
from backups.choosing import At, Only, UnknownCustomer
from backups.errors import KeysMissing, NoSet, NotRestorable, PurgedMeanwhile
from backups.finding import find, find_in_sets
from backups.hot import shipper
from backups.live_restore import requests as live
from backups.live_restore.sources import Which
from backups.models import BackupSet, Purge
from backups.nightly import back_up
from backups.restore import restore
from backups.scratch.restoring import restore_into
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, Export
from tests.backups.live_restore.conftest import state_of
from tests.backups.purge.conftest import MARK, OLD, OLD_RECORDS, Purged, files_with, fill_old
from tests.backups.test_back_up import assert_restored, read
from tests.home import PROJECT
from tests.past import at

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gone(aged: Any, purged: Purged) -> Any:
    """Acme after the purge; its one set was made before."""
    purged(aged)
    return aged


def test_before_the_purge_the_set_gives_everything(aged: Any, vault: Vault, tmp_path: Path) -> None:
    report = restore(vault, aged, tmp_path / "out")
    assert report.notes == [] and len(files_with(tmp_path / "out", MARK)) >= 10
    assert_restored(tmp_path / "out", aged)


def test_a_folder(gone: Any, vault: Vault, tmp_path: Path) -> None:
    report = restore(vault, gone, tmp_path / "out")
    assert report.good and any("What was purged since" in note for note in report.notes)
    assert files_with(tmp_path / "out", MARK) == []
    assert_restored(tmp_path / "out", gone)
    summary = json.loads((tmp_path / "out" / "restore.json").read_text())
    assert summary["rows"]["rows/l2l_subscriptions.datarecord"] == 4 and summary["files"] == 1


def test_the_salts_that_would_prove_the_content_stay_away_too(gone: Any, vault: Vault, tmp_path: Path) -> None:
    restore(vault, gone, tmp_path / "out")
    journal = read(tmp_path / "out" / "journal" / "l2l_audit.journalrow.ndjson")
    live = {row.number: row.salt for row in JournalRow.objects.filter(stream=gone.pk)}
    assert {row["number"]: row["salt"] for row in journal} == live


def test_any_second(gone: Any, vault: Vault, tmp_path: Path) -> None:
    DataRecord.objects.create(customer=gone, kind="part", reference="after")
    shipper.ship_once(vault)
    restore(vault, gone, tmp_path / "now", at=At(None))
    assert files_with(tmp_path / "now", MARK) == []
    assert_restored(tmp_path / "now", gone)


def test_any_second_from_segments_alone_beside_an_empty_set(
    acme: Any, people: Any, vault: Vault, settings: Any, purged: Purged, tmp_path: Path
) -> None:
    acme.account_manager = people["ada"]
    acme.save()
    back_up(vault, Stream.objects.get(pk=acme.pk))
    with at(settings, OLD):
        fill_old(acme)
    shipper.ship_once(vault)
    second = max(JournalRow.objects.filter(stream=acme.pk).values_list("written_at", flat=True))
    purged(acme)
    restore(vault, acme, tmp_path / "out", at=At(second))
    assert files_with(tmp_path / "out", MARK) == []


def test_one_item_or_one_model(gone: Any, vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(NoSet, match="not even in its history"):
        restore(vault, gone, tmp_path / "item", only=Only("datarecord", f"{MARK}-1"))
    restore(vault, gone, tmp_path / "model", only=Only("uploadedcontent"))
    assert files_with(tmp_path / "model", MARK) == []


def test_a_scratch_database(gone: Any, vault: Vault, tmp_path: Path) -> None:
    loaded = restore_into(vault, gone, f"sqlite:///{tmp_path / 'out.sqlite3'}")
    assert loaded.tables["l2l_subscriptions_datarecord"].rows == 4 and loaded.files == 1
    with closing(sqlite3.connect(tmp_path / "out.sqlite3")) as database:
        assert not any(MARK in line for line in database.iterdump())


def test_finding(gone: Any, vault: Vault) -> None:
    assert find_in_sets(vault, gone.pk, MARK).items == () and find(gone.pk, MARK).items == ()
    assert len(find_in_sets(vault, gone.pk, "new-1").items) == 1


def test_a_live_restore(gone: Any, vault: Vault) -> None:
    plan = live.preview(vault, gone.pk, Which())
    assert plan.is_empty
    with pytest.raises(NotRestorable, match="nothing to restore"):
        live.check_restorable(plan)
    before = state_of(gone)
    DataRecord.objects.get(reference="new-1").delete()
    plan = live.preview(vault, gone.pk, Which())
    assert plan.counts == {"l2l_subscriptions.datarecord": [1, 0, 0]} and before


def test_the_stand_alone_reader_knows_no_list_and_says_so(
    gone: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path
) -> None:
    script = PROJECT / "docs" / "read_set.py"
    arguments = [str(folders["primary"]), str(gone.pk), "--master", str(key_folder / "master.age"), "--trust", vault.fingerprint]
    command = [sys.executable, str(script), *arguments, "--to", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert files_with(tmp_path / "out", MARK) and "purged" in script.read_text().partition('"""')[2].partition('"""')[0]


def test_a_set_made_after_it_does_not_have_it(gone: Any, vault: Vault, clock: Any, tmp_path: Path) -> None:
    clock.forward(days=1)
    back_up(vault, Stream.objects.get(pk=gone.pk))
    restore(vault, gone, tmp_path / "out")
    assert files_with(tmp_path / "out", MARK) == []
    assert_restored(tmp_path / "out", gone)


def test_an_object_made_anew_under_the_key_of_a_purged_one_comes_back(
    aged: Any, purged: Purged, vault: Vault, clock: Any, tmp_path: Path
) -> None:
    key = DataRecord.objects.get(reference=f"{MARK}-1").pk
    purged(aged)
    DataRecord.objects.tracked_create([DataRecord(pk=key, customer=aged, kind="part", reference="anew", data={"n": 1})])
    shipper.ship_once(vault)
    restore(vault, aged, tmp_path / "any-second", at=At(None))
    clock.forward(days=1)
    back_up(vault, Stream.objects.get(pk=aged.pk))
    restore(vault, aged, tmp_path / "set")
    for folder in ("any-second", "set"):
        assert files_with(tmp_path / folder, MARK) == []
        assert_restored(tmp_path / folder, aged)


def test_a_neighbour_is_read_as_ever(gone: Any, acme2: Any, vault: Vault, tmp_path: Path) -> None:
    DataRecord.objects.create(customer=acme2, kind="part", reference="mine")
    back_up(vault, Stream.objects.get(pk=acme2.pk))
    report = restore(vault, acme2, tmp_path / "out")
    assert report.notes == [] and len(read(tmp_path / "out" / "rows" / "l2l_subscriptions.datarecord.ndjson")) == 1


def test_without_the_key_of_the_list_nothing_is_given_out(gone: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path) -> None:
    number = Purge.objects.order_by("pk")[0].key_number
    found = BackupSet.objects.get(stream=gone.pk)
    assert found.key_number == number
    for one in Purge.objects.all():  # the list was made with a key that no location has
        one.key_number = number + 1
        one.save()
    with pytest.raises(KeysMissing, match="list of it cannot be read"):
        restore(vault, gone, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_beside_a_new_database_the_list_comes_from_the_system_stream(
    gone: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper.ship_once(vault)
    back_up(vault, Stream.objects.get(pk=registry.SYSTEM_STREAM))
    unknown = UnknownCustomer(gone.pk)
    monkeypatch.setattr("backups.purge.listed.Customer.objects", Customer.objects.none())
    monkeypatch.setattr("backups.purge.listed.recorded", None)
    report = restore(vault, unknown, tmp_path / "out")
    assert files_with(tmp_path / "out", MARK) == [] and report.counts["rows/l2l_subscriptions.datarecord"] == 4


def test_beside_a_new_database_without_the_system_stream_it_is_said(
    gone: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.purge.listed.Customer.objects", Customer.objects.none())
    report = restore(vault, UnknownCustomer(gone.pk), tmp_path / "out")
    assert any("is not known here" in note for note in report.notes)
    assert report.counts["rows/l2l_subscriptions.datarecord"] == 4 + OLD_RECORDS


@pytest.mark.parametrize("into", ["folder", "database"])
def test_what_was_purged_while_it_was_read_is_not_handed_over(into: str, aged: Any, purged: Purged, vault: Vault, tmp_path: Path) -> None:
    def meanwhile(line: str) -> None:
        if not Purge.objects.exists():
            purged(aged)

    with pytest.raises(PurgedMeanwhile, match="run it again"):
        if into == "folder":
            restore(vault, aged, tmp_path / "out", progress=meanwhile)
        else:
            restore_into(vault, aged, f"sqlite:///{tmp_path / 'out'}", progress=meanwhile)
    assert not (tmp_path / "out").exists() and not Export.objects.exists()


def test_exports_of_one_item(gone: Any, vault: Vault, people: dict[str, User]) -> None:
    protected = registry.by_label("datarecord")
    assert protected is not None
    now = datetime.now(UTC) + timedelta(days=1)
    with pytest.raises(item_exports.NotAsked):
        item_exports.ask(gone.pk, protected, "1", None, now, reason="a customer asks")
