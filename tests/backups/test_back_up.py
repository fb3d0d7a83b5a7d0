"""One full backup: what goes in comes out, what is known is reused, a place that fails stops nothing (P1, P3, P4)."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile

from audit import registry, rows
from audit.models import Stream
from backups.chunks import MAX_PLAIN_BYTES
from backups.errors import Busy, NoLocation, StreamEnded
from backups.leases import holding, lease_name
from backups.models import BackupSet, Blob, Chunk, Copy, Location
from backups.nightly import Outcome, back_up
from backups.placing import SMALL_BYTES
from backups.restore import restore
from backups.runs import RunStopped
from backups.spool import folder_of
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent
from subscriptions.onboarding import add_customer
from tests.factory.models import Downtime, Line, Site

pytestmark = pytest.mark.django_db(transaction=True)


def fill(customer: Any) -> None:
    """Records, links and files, some of them changed and deleted since."""
    DataRecord.objects.tracked_create(
        DataRecord(customer=customer, kind="part", reference=str(n), data={"Name": f"Part {n}", "Note": 'é "x"\n\\\t'}) for n in range(50)
    )
    Link.objects.create(customer=customer, reference="a", title="A", url="https://example.org/ü")
    for n in range(5):
        UploadedContent.objects.create(customer=customer, name=f"doc {n}.bin", file=ContentFile(bytes([n]) * 1000 * n, name="x"))
    record = DataRecord.objects.get(customer=customer, reference="7")
    record.data["Name"] = "Changed"
    record.save()
    DataRecord.objects.get(customer=customer, reference="8").delete()
    upload = UploadedContent.objects.get(customer=customer, name="doc 3.bin")
    upload.file = ContentFile(b"a newer version", name="x")
    upload.save()


def backed_up(vault: Vault, customer: Any, **options: Any) -> Outcome:
    return back_up(vault, Stream.objects.get(pk=customer.pk), **options)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def assert_restored(folder: Path, customer: Any) -> None:
    """The folder holds the customer's live rows, whole history and every version of every file, as they are now."""
    for protected in registry.of_stream(customer.pk):
        live = [json.loads(rows.instance_json(one)) for one in protected.rows(customer.pk).order_by("pk")]
        past = protected.history_model.objects.filter(history_stream=customer.pk).order_by("pk")
        assert read(folder / "rows" / f"{protected.label}.ndjson") == live
        assert read(folder / "history" / f"{protected.label}.ndjson") == [json.loads(rows.instance_json(one)) for one in past]
        for field in protected.files:
            for version in past.exclude(**{field.name: ""}):
                name = getattr(version, field.name)
                with field.storage.open(name) as file:
                    assert (folder / "files" / name).read_bytes() == file.read()


def test_what_comes_out_is_what_went_in(acme: Any, vault: Vault, offsite_alone: Vault, tmp_path: Path) -> None:
    fill(acme)
    outcome = backed_up(vault, acme)
    assert outcome.good and outcome.whole_at == ["primary", "offsite"]
    assert restore(offsite_alone, acme, tmp_path / "out").good
    assert_restored(tmp_path / "out", acme)


def test_a_second_night_reuses_everything_that_did_not_change(acme: Any, vault: Vault, clock: Any) -> None:
    fill(acme)
    first = backed_up(vault, acme).backup_set
    clock.forward(days=1)
    second = backed_up(vault, acme).backup_set
    assert (second.new_blobs, second.new_bytes, second.reused_blobs) == (0, 0, first.new_blobs)
    assert second.night > first.night


def test_a_customer_without_content_is_backed_up_too(acme: Any, vault: Vault, tmp_path: Path) -> None:
    assert backed_up(vault, acme).good
    report = restore(vault, acme, tmp_path / "out")
    assert report.good and set(report.counts.values()) == {0}


def test_the_system_stream_is_backed_up_like_any_other(acme: Any, vault: Vault) -> None:
    system = back_up(vault, Stream.objects.get(pk=registry.SYSTEM_STREAM))
    assert system.good and system.backup_set.rows == 3  # the customer, its subscription, the event that tells of them


def test_models_of_the_vendor_need_nothing_but_the_decoration(acme: Any, vault: Vault, offsite_alone: Vault, tmp_path: Path) -> None:
    site = Site.objects.create(customer=acme, name="Kassel")
    line = Line.objects.create(site=site, name="Line 1", speed=Decimal("12.500"))
    began = datetime(2026, 1, 31, 23, 59, 59, 5, tzinfo=UTC)
    stop = Downtime.objects.create(
        line=line, began_at=began, factor=0.1, details={"b": [1, 1e22, None]}, photo=ContentFile(b"jpg", name="p")
    )
    stop.details["cause"] = "belt"
    stop.save()
    assert backed_up(vault, acme).good
    assert restore(offsite_alone, acme, tmp_path / "out").good
    assert_restored(tmp_path / "out", acme)
    assert read(tmp_path / "out/rows/factory.line.ndjson")[0]["speed"] == "12.500"


def test_two_customers_share_no_key_no_path_and_no_chunk(acme: Any, vault: Vault, folders: dict[str, Path]) -> None:
    other = add_customer("acme2", "Acme Two", start=acme.subscriptions.get().start)
    for customer in (acme, other):
        fill(customer)
        assert backed_up(vault, customer).good
    digests = {customer.pk: set(Chunk.objects.filter(stream=customer.pk).values_list("digest", flat=True)) for customer in (acme, other)}
    assert not digests[acme.pk] & digests[other.pk]
    names = {customer.pk: set(Blob.objects.filter(stream=customer.pk).values_list("sha256", flat=True)) for customer in (acme, other)}
    assert not names[acme.pk] & names[other.pk]
    stored = [path.relative_to(folders["primary"]) for path in folders["primary"].rglob("*") if path.is_file()]
    assert all((str(acme.pk) in str(path)) != (str(other.pk) in str(path)) for path in stored if path.parts[0] in ("keys", "customers"))


def test_a_place_that_is_gone_stops_nothing_and_is_caught_up(acme: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path) -> None:
    fill(acme)
    away = folders["offsite"].rename(tmp_path / "away")
    outcome = backed_up(vault, acme)
    assert outcome.whole_at == ["primary"] and not outcome.good
    assert "offsite" in outcome.troubles and outcome.owed["offsite"][0] > 0
    assert not folders["offsite"].exists()
    assert Location.objects.get(name="offsite").trouble
    away.rename(folders["offsite"])
    again = backed_up(vault, acme)
    assert again.good and again.caught_up and again.owed["offsite"] == (0, 0)
    assert all(one.protected_at for one in BackupSet.objects.all())
    assert restore(vault.only("offsite"), acme, tmp_path / "out", set_id=str(outcome.backup_set.pk)).good


def test_no_place_at_all_is_an_error_that_says_why(acme: Any, vault: Vault, folders: dict[str, Path]) -> None:
    for folder in folders.values():
        shutil.rmtree(folder)
    with pytest.raises(NoLocation, match=r"primary: .*offsite: "):
        backed_up(vault, acme)
    assert not BackupSet.objects.exists()


def test_objects_that_vanish_are_put_back_by_the_next_night(acme: Any, vault: Vault, folders: dict[str, Path]) -> None:
    fill(acme)
    backed_up(vault, acme)
    lost = [path for path in (folders["primary"] / "customers").rglob("*") if path.is_file()]
    for path in lost:
        path.unlink()
    outcome = backed_up(vault, acme)
    assert outcome.good and any("missing or cut at primary" in note for note in outcome.notes)
    assert all(path.exists() for path in lost)


def test_what_is_lost_everywhere_is_stored_anew(acme: Any, vault: Vault, clock: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    fill(acme)
    backed_up(vault, acme)
    for folder in folders.values():
        for path in (folder / "customers" / str(acme.pk) / "blobs").rglob("*"):
            if path.is_file():
                path.unlink()
    clock.forward(days=1)
    outcome = backed_up(vault, acme)
    assert outcome.good and outcome.backup_set.new_blobs > 0
    restore(vault, acme, tmp_path / "out")
    assert_restored(tmp_path / "out", acme)


def test_a_file_that_the_upload_storage_lost_is_said_and_stops_nothing_else(acme: Any, vault: Vault, uploads: Path, tmp_path: Path) -> None:
    fill(acme)
    upload = UploadedContent.objects.get(name="doc 4.bin")
    (uploads / upload.file.name).unlink()
    outcome = backed_up(vault, acme)
    assert outcome.backup_set.absent_files == 1 and not outcome.good and outcome.whole_at
    report = restore(vault, acme, tmp_path / "out")
    assert report.absent == [upload.file.name] and not report.good


def test_a_file_that_was_backed_up_before_outlives_its_loss(acme: Any, vault: Vault, uploads: Path, tmp_path: Path) -> None:
    fill(acme)
    backed_up(vault, acme)
    upload = UploadedContent.objects.get(name="doc 4.bin")
    (uploads / upload.file.name).unlink()
    assert backed_up(vault, acme).good
    assert restore(vault, acme, tmp_path / "out").good
    assert (tmp_path / "out/files" / upload.file.name).read_bytes() == b"\x04" * 4000


@pytest.mark.parametrize("size", [20_480_000, 2 * MAX_PLAIN_BYTES + 7])
def test_a_file_of_several_blobs_is_read_once(acme: Any, vault: Vault, uploads: Path, tmp_path: Path, size: int) -> None:
    content = (bytes(range(256)) * 80_000)[:size]
    upload = UploadedContent.objects.create(customer=acme, name="large.bin", file=ContentFile(content, name="x"))
    backed_up(vault, acme)
    (uploads / upload.file.name).unlink()  # so that reading it again would fail
    second = backed_up(vault, acme)
    assert second.good and second.backup_set.new_blobs == 0
    restore(vault, acme, tmp_path / "out")
    assert (tmp_path / "out/files" / upload.file.name).read_bytes() == content


def test_a_set_that_is_no_longer_wanted_once_its_turn_comes_is_not_begun(acme: Any, vault: Vault) -> None:
    def stopped(_: str) -> None:
        raise RunStopped("by a person")

    with pytest.raises(RunStopped):
        back_up(vault, Stream.objects.get(pk=acme.pk), progress=stopped)
    assert not BackupSet.objects.exists()
    assert backed_up(vault, acme).good


def test_two_backups_of_one_customer_do_not_run_at_once(acme: Any, vault: Vault, clock: Any) -> None:
    with holding(lease_name(acme.pk), doing="backup", clock=clock), pytest.raises(Busy, match="has been at 'backup' since"):
        backed_up(vault, acme)


def test_a_destroyed_customer_is_never_backed_up_again(acme: Any, vault: Vault) -> None:
    vault.places[1].store.put(f"ended/{acme.pk}.json", b"{}")
    with pytest.raises(StreamEnded):
        backed_up(vault, acme)
    assert not Blob.objects.exists()


def test_objects_that_nobody_stored_are_reported_and_left(acme: Any, vault: Vault, folders: dict[str, Path]) -> None:
    backed_up(vault, acme)
    stranger = folders["primary"] / "customers" / str(acme.pk) / "blobs" / "aa" / ("a" * 64)
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"?")
    outcome = backed_up(vault, acme)
    assert any("nobody stored here" in note for note in outcome.notes)
    assert stranger.exists()


def test_a_full_spool_disk_leaves_no_set_and_no_lease(acme: Any, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(acme)
    # What is small does not lie in the spool.
    UploadedContent.objects.create(customer=acme, name="large.bin", file=ContentFile(b"large" * SMALL_BYTES, name="large.bin"))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space left"):
        broken.setattr(Path, "write_bytes", full)
        backed_up(vault, acme)
    assert BackupSet.objects.get().state == BackupSet.State.ABANDONED
    assert backed_up(vault, acme).good
    assert not Copy.objects.exclude(state="present").exists()


def test_what_a_killed_run_left_in_the_spool_goes_with_the_customers_next_run(acme: Any, vault: Vault) -> None:
    # Killed after its set was finished and before it tidied up: no set in the making tells of it.
    finished = backed_up(vault, acme).backup_set
    left, of_another = folder_of(vault.spool, acme.pk, finished.id), folder_of(vault.spool, uuid4(), uuid4())
    for folder in (left, of_another):
        folder.mkdir(parents=True)
        (folder / ("a" * 64)).write_bytes(b"sealed")
    backed_up(vault, acme)
    assert list(vault.spool.iterdir()) == [of_another]


def test_a_location_of_another_installation_is_refused(acme: Any, vault: Vault, tmp_path: Path) -> None:
    from audit.signing import Signer, new_secret

    foreign = replace(vault, signer=Signer(new_secret()))
    with pytest.raises(NoLocation, match="belongs to another installation"):
        backed_up(foreign, acme)
