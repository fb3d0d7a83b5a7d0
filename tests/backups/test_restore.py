"""Restoring: from one location alone, mended from another, one item, and never a half result that looks whole (P14)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.models import Event
from audit.signing import Signer, new_secret
from backups import keyfiles
from backups.errors import KeysMissing, NoSet, NowhereWhole, StreamEnded, TargetInTheWay
from backups.restore import Only, restore
from backups.vault import Vault
from subscriptions.models import DataRecord, Export, UploadedContent
from tests.backups.test_back_up import assert_restored, backed_up, fill, read

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept(acme: Any, vault: Vault) -> Any:
    """Acme with content and one protected set."""
    fill(acme)
    backed_up(vault, acme)
    return acme


def blobs(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "customers").rglob("*") if path.is_file() and "blobs" in path.parts)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("location", ["primary", "offsite"])
def test_any_one_location_is_enough(kept: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path, location: str) -> None:
    (other,) = set(folders) - {location}
    folders[other].rename(tmp_path / "gone")
    report = restore(vault, kept, tmp_path / "out")
    assert any(other in note for note in report.notes)
    assert_restored(tmp_path / "out", kept)


def test_a_damaged_blob_is_taken_from_elsewhere_and_said(kept: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path) -> None:
    for path in blobs(folders["primary"]):
        flip(path)
    report = restore(vault, kept, tmp_path / "out")
    assert any("damaged at primary" in note and "taken from offsite" in note for note in report.notes)
    assert_restored(tmp_path / "out", kept)
    assert json.loads((tmp_path / "out/restore.json").read_text())["notes"] == report.notes


def test_what_no_location_has_whole_is_named_and_nothing_stands_there(
    kept: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path
) -> None:
    flip(blobs(folders["primary"])[0])
    blobs(folders["offsite"])[0].unlink()
    with pytest.raises(NowhereWhole, match=r"damaged at primary; .* missing at offsite"):
        restore(vault, kept, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []
    assert not Export.objects.exists()


@pytest.mark.parametrize("kind", ["json", "age"])
def test_a_damaged_envelope_or_body_at_one_place_does_not_matter(
    kept: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    (path,) = (folders["primary"] / "customers").rglob(f"sets/*.{kind}")
    flip(path)
    report = restore(vault, kept, tmp_path / "out")
    assert report.notes
    assert_restored(tmp_path / "out", kept)


def test_a_set_signed_by_somebody_else_is_no_set(kept: Any, vault: Vault, tmp_path: Path, folders: dict[str, Path]) -> None:
    foreign = Signer(new_secret())
    for folder in folders.values():
        (path,) = (folder / "customers").rglob("sets/*.json")
        document = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("signature", "signed_by")}
        path.write_text(json.dumps(foreign.sign(document)))
    with pytest.raises(NoSet, match=r"only .* is trusted"):
        restore(vault, kept, tmp_path / "out")


def test_the_envelope_of_another_customer_is_no_set(kept: Any, acme2: Any, vault: Vault, tmp_path: Path) -> None:
    store = vault.places[0].store
    (name,) = [entry.name for entry in store.list(f"customers/{kept.pk}/sets/") if entry.name.endswith(".json")]
    store.put(name.replace(str(kept.pk), str(acme2.pk)), store.get(name))
    with pytest.raises(NoSet, match="is about set"):
        restore(vault, acme2, tmp_path / "out")


def test_the_wrong_master_key_says_so(kept: Any, vault: Vault, tmp_path: Path) -> None:
    keyfiles.make_key_files(tmp_path / "other", "2026-01-01")
    with pytest.raises(KeysMissing, match="recovery kit"):
        restore(replace(vault, keys=keyfiles.key_ring(tmp_path / "other")), kept, tmp_path / "out")


def test_a_folder_with_something_in_it_is_not_touched(kept: Any, vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(TargetInTheWay):
        restore(vault, kept, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_full_disk_leaves_nothing(kept: Any, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backups.restore._Writer._write_file", full)
    with pytest.raises(OSError, match="No space left"):
        restore(vault, kept, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_one_item_comes_with_its_whole_history_and_files(kept: Any, vault: Vault, tmp_path: Path) -> None:
    report = restore(vault, kept, tmp_path / "out", only=Only.of_text("uploadedcontent:doc 3.bin"))
    upload = UploadedContent.objects.get(name="doc 3.bin")
    assert [row["name"] for row in read(tmp_path / "out/rows/l2l_subscriptions.uploadedcontent.ndjson")] == ["doc 3.bin"]
    assert len(read(tmp_path / "out/history/l2l_subscriptions.uploadedcontent.ndjson")) == 2
    assert report.files == 2
    assert (tmp_path / "out/files" / upload.file.name).read_bytes() == b"a newer version"
    assert not (tmp_path / "out/rows/l2l_subscriptions.datarecord.ndjson").exists()


def test_a_deleted_item_comes_back_from_its_history(kept: Any, vault: Vault, tmp_path: Path) -> None:
    restore(vault, kept, tmp_path / "out", only=Only.of_text("datarecord:8"))
    assert read(tmp_path / "out/rows/l2l_subscriptions.datarecord.ndjson") == []
    assert [row["history_type"] for row in read(tmp_path / "out/history/l2l_subscriptions.datarecord.ndjson")] == ["+", "-"]


@pytest.mark.parametrize(
    ("only", "message"), [("datarecord:nonsense", "not even in its history"), ("nonsense", "it holds factory.downtime")]
)
def test_an_item_that_is_not_there_is_said(kept: Any, vault: Vault, tmp_path: Path, only: str, message: str) -> None:
    with pytest.raises(NoSet, match=message):
        restore(vault, kept, tmp_path / "out", only=Only.of_text(only))
    assert not (tmp_path / "out").exists()


def test_an_older_set_by_its_id(kept: Any, vault: Vault, clock: Any, tmp_path: Path) -> None:
    before = DataRecord.objects.count()
    DataRecord.objects.create(customer=kept, kind="part", reference="later")
    clock.forward(days=1)
    second = backed_up(vault, kept).backup_set
    assert restore(vault, kept, tmp_path / "new").found.id == str(second.pk)
    older = second.stream.sets.exclude(pk=second.pk).get()
    restore(vault, kept, tmp_path / "old", set_id=str(older.pk)[:8])
    assert len(read(tmp_path / "old/rows/l2l_subscriptions.datarecord.ndjson")) == before


def test_every_restore_is_an_export_on_record(kept: Any, vault: Vault, clock: Any, tmp_path: Path) -> None:
    restore(vault, kept, tmp_path / "out", reason="the customer asked")
    export = Export.objects.get()
    assert (export.by, export.reason, export.path) == ("ada", "the customer asked", str(tmp_path / "out"))
    assert export.expires_at > clock.now
    event = Event.objects.get(event="data:exported")
    assert (event.subject, event.customer, event.facts["sha256"]) == (f"l2l_subscriptions.export:{export.pk}", kept.pk, export.sha256)


def test_a_destroyed_customer_cannot_be_restored(kept: Any, vault: Vault, tmp_path: Path) -> None:
    vault.places[0].store.put(f"ended/{kept.pk}.json", b"{}")
    with pytest.raises(StreamEnded):
        restore(vault, kept, tmp_path / "out")
