"""Any second: a customer as it was at a moment, from sets and segments (P14; design section 6)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import transaction

from audit import clock as clocks
from audit import registry, rows
from audit.models import JournalRow
from backups.choosing import At, Only
from backups.errors import Gap, NotCovered
from backups.moments.reader import _joined
from backups.restore import Report, restore
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.backups.shipping import again, ship
from tests.backups.test_back_up import backed_up, read
from tests.factory.models import Specimen

pytestmark = pytest.mark.django_db(transaction=True)

MICROSECOND = timedelta(microseconds=1)


@dataclass
class Told:
    """What the live rows were after each transaction."""

    customer: Any
    states: list[tuple[datetime, dict[str, list[Any]], int]] = field(default_factory=list)

    def note(self) -> datetime:
        """After a commit: the newest change's time, by the database's clock."""
        journal = JournalRow.objects.filter(stream=self.customer.pk)
        at = max(journal.values_list("written_at", flat=True))
        self.states.append((at, live(self.customer), journal.count()))
        return at

    def at(self, moment: datetime) -> tuple[dict[str, list[Any]], int]:
        """The state of the last transaction that was made by then."""
        made = [(state, count) for at, state, count in self.states if at <= moment]
        return made[-1] if made else ({one.label: [] for one in registry.of_stream(self.customer.pk)}, 0)


def live(customer: Any) -> dict[str, list[Any]]:
    return {
        one.label: [json.loads(rows.instance_json(row)) for row in one.rows(customer.pk).order_by("pk")]
        for one in registry.of_stream(customer.pk)
    }


def restored(folder: Path, customer: Any) -> dict[str, list[Any]]:
    return {one.label: read(folder / "rows" / f"{one.label}.ndjson") for one in registry.of_stream(customer.pk)}


def history_rows(folder: Path) -> int:
    return sum(len(read(path)) for path in (folder / "history").iterdir())


def restored_at(vault: Vault, customer: Any, moment: datetime | None, folder: Path, **options: Any) -> Report:
    return restore(vault, customer, folder, at=At(moment), **options)


def record(customer: Any, reference: str, **data: Any) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference, data=data)


@pytest.fixture
def told(acme: Any) -> Told:
    return Told(acme)


@pytest.fixture
def story(acme: Any, vault: Vault, told: Told) -> list[datetime]:
    """Four transactions, a set after the second, a segment after each; the moments of their commits."""
    moments = []
    record(acme, "1", colour="red")
    moments.append(told.note())
    ship(vault)
    with transaction.atomic():
        record(acme, "2")
        Link.objects.create(customer=acme, reference="a", url="https://example.org")
    moments.append(told.note())
    ship(vault)
    backed_up(vault, acme)
    changed = DataRecord.objects.get(customer=acme, reference="1")
    changed.data = {"colour": "blue"}
    changed.save()
    moments.append(told.note())
    ship(vault)
    DataRecord.objects.get(customer=acme, reference="2").delete()
    moments.append(told.note())
    ship(vault)
    ship(vault)
    return moments


def test_each_transaction_can_be_had_back(story: list[datetime], acme: Any, vault: Vault, told: Told, tmp_path: Path) -> None:
    for number, moment in enumerate(story):
        for name, at in (("before", moment - MICROSECOND), ("at", moment)):
            folder = tmp_path / f"{name}-{number}"
            report = restored_at(vault, acme, at, folder)
            state, count = told.at(at)
            assert restored(folder, acme) == state
            assert history_rows(folder) == count == report.counts["journal/l2l_audit.journalrow"]


def test_now_is_the_newest_second_that_is_covered(story: list[datetime], acme: Any, vault: Vault, tmp_path: Path) -> None:
    report = restored_at(vault, acme, None, tmp_path / "out")
    assert report.moment and report.moment.at > story[-1]
    assert restored(tmp_path / "out", acme) == live(acme)


def test_what_is_restored_says_which_moment(story: list[datetime], acme: Any, vault: Vault, tmp_path: Path) -> None:
    restored_at(vault, acme, story[2], tmp_path / "out")
    summary = json.loads((tmp_path / "out/restore.json").read_text())
    assert summary["state_at"] == story[2].isoformat()
    assert summary["moment"]["number"] == 4
    assert summary["moment"]["segments"] == {"first": 3, "last": 4}


def test_a_moment_that_nothing_proves_is_refused_with_what_is_covered(
    story: list[datetime], acme: Any, vault: Vault, tmp_path: Path
) -> None:
    with pytest.raises(NotCovered, match=r"cover this customer until \d{4}-.*'now'"):
        restored_at(vault, acme, clocks.database_now() + timedelta(seconds=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_set_alone_covers_what_was_before_it(
    story: list[datetime], acme: Any, vault: Vault, folders: Any, told: Told, tmp_path: Path
) -> None:
    for folder in folders.values():
        for path in (folder / "hot").rglob("*.tar"):
            path.unlink()
    restored_at(vault, acme, story[0], tmp_path / "out")
    assert restored(tmp_path / "out", acme) == told.at(story[0])[0]
    with pytest.raises(NotCovered, match="No segment behind the set"):
        restored_at(vault, acme, story[2], tmp_path / "later")


def test_rows_that_had_no_number_at_the_snapshot_do_not_leak_in(acme: Any, vault: Vault, told: Told, tmp_path: Path) -> None:
    record(acme, "1")
    first = told.note()
    ship(vault)
    record(acme, "2")
    second = told.note()
    backed_up(vault, acme)
    record(acme, "3")
    third = told.note()
    ship(vault)
    ship(vault)
    for number, moment in enumerate((first, second - MICROSECOND, second, third)):
        restored_at(vault, acme, moment, tmp_path / str(number))
        assert restored(tmp_path / str(number), acme) == told.at(moment)[0]


def test_half_a_transaction_is_never_restored(acme: Any, vault: Vault, told: Told, tmp_path: Path) -> None:
    record(acme, "0")
    told.note()
    ship(vault)
    backed_up(vault, acme)
    with transaction.atomic():
        for number in range(1, 8):
            record(acme, str(number))
    whole = told.note()
    ship(vault, most=3)
    with pytest.raises(NotCovered):
        restored_at(vault, acme, whole, tmp_path / "half")
    backed_up(vault, acme)  # a set in the middle of it
    ship(vault, most=3)
    ship(vault, most=3)
    ship(vault)
    for number, moment in enumerate((whole - MICROSECOND, whole)):
        restored_at(vault, acme, moment, tmp_path / str(number))
        assert restored(tmp_path / str(number), acme) == told.at(moment)[0]


def tars(folder: Path) -> list[Path]:
    return sorted((folder / "hot").rglob("*.tar"))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[600] ^= 1
    path.write_bytes(data)


def test_a_missing_segment_is_named(story: list[datetime], acme: Any, vault: Vault, folders: Any, told: Told, tmp_path: Path) -> None:
    for folder in folders.values():
        tars(folder)[3].unlink()
    with pytest.raises(Gap, match="Segment 4 is missing at primary and offsite, and segment 5 is there"):
        restored_at(vault, acme, story[3], tmp_path / "out")
    restored_at(vault, acme, story[1], tmp_path / "before")  # nothing of it is needed
    assert restored(tmp_path / "before", acme) == told.at(story[1])[0]


def test_a_missing_or_damaged_segment_is_taken_from_the_other_place(
    story: list[datetime], acme: Any, vault: Vault, folders: Any, tmp_path: Path
) -> None:
    tars(folders["primary"])[3].unlink()
    flip(tars(folders["offsite"])[2])
    flip(tars(folders["primary"])[3])
    report = restored_at(vault, acme, None, tmp_path / "out")
    assert restored(tmp_path / "out", acme) == live(acme)
    assert any("000000000003-1.tar" not in note and "taken from elsewhere" in note for note in report.notes)


@pytest.mark.parametrize("cut", [0, 700, -1])
def test_a_segment_that_is_nowhere_whole_is_named(
    story: list[datetime], acme: Any, vault: Vault, folders: Any, tmp_path: Path, cut: int
) -> None:
    for folder in folders.values():
        path = tars(folder)[3]
        data = path.read_bytes()
        path.write_bytes(data[:cut] if cut >= 0 else data[: len(data) // 2])
    with pytest.raises(Gap, match=r"Segment 4 is nowhere whole: .*at primary.*at offsite"):
        restored_at(vault, acme, story[3], tmp_path / "out")


def test_one_number_under_two_names_is_one_segment(story: list[datetime], acme: Any, vault: Vault, folders: Any, tmp_path: Path) -> None:
    from backups.models import Segment

    name = again(vault, Segment.objects.get(number=3), [acme.pk], epoch=7)
    assert restored_at(vault, acme, None, tmp_path / "both").good
    assert restored(tmp_path / "both", acme) == live(acme)
    for folder in folders.values():
        flip(folder / name)
    report = restored_at(vault, acme, None, tmp_path / "one")
    assert restored(tmp_path / "one", acme) == live(acme)
    assert any("000000000003-7.tar cannot be used" in note for note in report.notes)


def test_a_damaged_newest_set_is_replaced_by_an_older_one_and_segments(
    story: list[datetime], acme: Any, vault: Vault, clock: Any, folders: Any, told: Told, tmp_path: Path
) -> None:
    clock.forward(days=1)
    newest = backed_up(vault, acme).backup_set
    ship(vault)
    for folder in folders.values():
        flip(next(iter((folder / "customers").rglob(f"{newest.pk}.age"))))
    report = restored_at(vault, acme, story[3], tmp_path / "out")
    assert restored(tmp_path / "out", acme) == told.at(story[3])[0]
    assert report.found.id != str(newest.pk) and any(str(newest.pk)[:8] in note for note in report.notes)


def test_a_file_uploaded_after_the_set_comes_back(acme: Any, vault: Vault, uploads: Path, tmp_path: Path) -> None:
    record(acme, "1")
    ship(vault)
    backed_up(vault, acme)
    upload = UploadedContent.objects.create(customer=acme, name="late.bin", file=ContentFile(b"seconds before", name="x"))
    ship(vault)
    ship(vault)
    (uploads / upload.file.name).unlink()
    assert restored_at(vault, acme, None, tmp_path / "out").good
    assert (tmp_path / "out/files" / upload.file.name).read_bytes() == b"seconds before"


def test_a_file_whose_bytes_come_in_a_later_segment_is_found_there(acme: Any, vault: Vault, told: Told, tmp_path: Path) -> None:
    from tests.backups.shipping import stored_file

    record(acme, "1")
    ship(vault)
    backed_up(vault, acme)
    upload = UploadedContent.objects.create(customer=acme, name="late.bin", file=ContentFile(b"much later", name="x"))
    moment = told.note()
    ship(vault, files=False)
    record(acme, "2")
    told.note()
    ship(vault)
    report = restored_at(vault, acme, moment, tmp_path / "not-yet")
    assert report.absent == [upload.file.name] and any("at no location, or not yet" in note for note in report.notes)
    entry = stored_file(
        vault, str(acme.pk), "l2l_subscriptions.uploadedcontent", upload.file.name, upload.sha256, upload.size, b"much later"
    )
    ship(vault, extra=[(acme.pk, [entry])])
    assert restored_at(vault, acme, moment, tmp_path / "out").good
    assert (tmp_path / "out/files" / upload.file.name).read_bytes() == b"much later"
    assert read(tmp_path / "out/rows/l2l_subscriptions.datarecord.ndjson")[-1]["reference"] == "1"


def test_one_item_at_a_moment(story: list[datetime], acme: Any, vault: Vault, tmp_path: Path) -> None:
    restored_at(vault, acme, story[2], tmp_path / "out", only=Only.of_text("datarecord:1"))
    (row,) = read(tmp_path / "out/rows/l2l_subscriptions.datarecord.ndjson")
    assert row["data"] == {"colour": "blue"}
    assert [one["history_type"] for one in read(tmp_path / "out/history/l2l_subscriptions.datarecord.ndjson")] == ["+", "~"]


def test_a_set_from_before_numbers_says_so(acme: Any, vault: Vault, folders: Any, tmp_path: Path) -> None:
    record(acme, "1")
    made = backed_up(vault, acme).backup_set
    for folder in folders.values():
        path = next(iter((folder / "customers").rglob(f"{made.pk}.json")))
        envelope = {
            name: value for name, value in json.loads(path.read_text()).items() if name not in ("signature", "signed_by", "journal")
        }
        path.write_text(json.dumps(vault.signer.sign(envelope)))
    with pytest.raises(NotCovered, match="None of the 1 sets of this customer has numbered changes"):
        restored_at(vault, acme, clocks.database_now(), tmp_path / "out")


def test_nothing_of_it_stays_on_the_disk(story: list[datetime], acme: Any, vault: Vault, tmp_path: Path) -> None:
    restored_at(vault, acme, None, tmp_path / "out")
    assert list(vault.spool.iterdir()) == []


def test_the_workspace_cannot_be_opened_by_others_while_it_is_used(vault: Vault) -> None:
    from backups.moments.workspace import Workspace

    workspace = Workspace(vault.spool, "CREATE TABLE one (n INTEGER)")
    workspace.fill("INSERT INTO one VALUES (?)", [(n,) for n in range(200_000)])
    assert list(vault.spool.iterdir()) == [] and workspace.one("SELECT count(*) FROM one") == 200_000
    workspace.close()


def test_another_customers_key_is_not_asked_for(
    story: list[datetime], acme: Any, acme2: Any, vault: Vault, folders: Any, tmp_path: Path
) -> None:
    record(acme2, "1")
    ship(vault)
    for folder in folders.values():
        for path in (folder / "keys" / str(acme2.pk)).iterdir():
            path.unlink()
    assert restored_at(vault, acme, None, tmp_path / "out").good


@pytest.mark.parametrize(("text", "message"), [("2026-03-04T02:05:09", "has no zone"), ("yesterday", "is no moment")])
def test_a_time_without_a_zone_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        At.of_text(text)


def test_a_model_that_is_newer_than_the_set_comes_too(acme: Any, vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record(acme, "1")
    ship(vault)
    known = registry.of_stream
    with monkeypatch.context() as earlier:
        earlier.setattr("audit.registry.of_stream", lambda stream: [one for one in known(stream) if one.label != "factory.specimen"])
        backed_up(vault, acme)
    Specimen.objects.create(customer=acme, label="new", free={"a": 1})
    gone = Specimen.objects.create(customer=acme, label="gone")
    gone.delete()
    ship(vault)
    ship(vault)
    report = restored_at(vault, acme, None, tmp_path / "out")
    assert restored(tmp_path / "out", acme) == live(acme)
    assert (report.counts["rows/factory.specimen"], report.counts["history/factory.specimen"]) == (1, 3)
    restored_at(vault, acme, None, tmp_path / "item", only=Only.of_text("specimen:gone"))
    assert len(read(tmp_path / "item/history/factory.specimen.ndjson")) == 2


def test_columns_that_only_the_set_or_only_segments_know_can_be_null() -> None:
    old = [{"name": "a", "kind": "text", "null": False}, {"name": "gone", "kind": "text", "null": False}]
    new = [{"name": "a", "kind": "text", "null": False}, {"name": "new", "kind": "integer", "null": False}]
    assert [(one["name"], one["null"]) for one in _joined(old, new)] == [("a", False), ("gone", True), ("new", True)]
    assert _joined(old, []) == old == _joined(old, list(reversed(old)))
