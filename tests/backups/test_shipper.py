"""The shipper: what was committed is at every location within the second, in order, once, whatever happens to the shipper."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.db import connection, transaction

from audit.models import ChainHead, JournalRow
from backups import vault as vaults
from backups.customerkeys import key_at
from backups.errors import BackupError
from backups.hot import sections, segments, shipper
from backups.hot.keys import Keys
from backups.hot.leading import Leader
from backups.hot.sections import MAX_SECTION_BYTES, Section
from backups.models import Blob, Copy, HotFile, HotState, LossHour, Segment, SegmentCopy, Timeline
from backups.sealing import unseal
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent


@pytest.fixture
def stores() -> dict[str, MemoryStore]:
    return {name: MemoryStore(f"memory:{name}") for name in ("primary", "offsite")}


@pytest.fixture
def hot(transactional_db: None, make_vault: Callable[..., Vault], stores: dict[str, MemoryStore]) -> Iterator[Vault]:
    """A vault whose clock goes with the database's."""
    yield replace(make_vault(**stores), clock=vaults.clock)


def record(customer: Any, reference: str, **data: str) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference, data=data)


def shipped(vault: Vault, place: str, customer: Any) -> list[Section]:
    """The customer's sections at a place, in the order of their segments, each opened and verified."""
    [store] = [one.store for one in vault.places if one.name == place]
    found = []
    for entry in store.list("hot/"):
        if segments.number_and_epoch(entry.name) is None:
            continue
        index, sealed = segments.read(store.get(entry.name), vault.fingerprint)
        if str(customer.pk) in sealed:
            key = key_at(vault.keys, vault.places, customer.pk, index.of(str(customer.pk)).key, [])
            plain = unseal(sealed[str(customer.pk)], key.identity, limit=MAX_SECTION_BYTES)
            found.append(sections.read(plain, stream=str(customer.pk)))
    return found


def numbers(found: list[Section]) -> list[int]:
    return [change.number for section in found for change in section.changes]


def test_a_key_that_is_nowhere_whole_holds_up_no_segment(hot, stores, acme, acme2):
    record(acme, "P-1")
    record(acme2, "P-1")
    assert shipper.ship_once(hot) == []
    lost = Blob.objects.get(stream=acme2.pk, kind=Blob.Kind.KEY)
    for store in stores.values():
        del store.objects[lost.name]
    Copy.objects.filter(blob=lost).update(state=Copy.State.OWED)
    record(acme, "P-2")
    shipper.ship_once(hot, patience=20.0)
    assert all(numbers(shipped(hot, place, acme)) == [1, 2] for place in ("primary", "offsite"))
    assert not SegmentCopy.objects.filter(durable_at=None).exists()
    record(acme2, "P-2")  # under a new key
    shipper.ship_once(hot, patience=20.0)
    assert not JournalRow.objects.filter(number=None, stream=acme2.pk).exists()
    assert not SegmentCopy.objects.filter(durable_at=None).exists()


def test_what_was_committed_is_at_every_location(hot, acme):
    record(acme, "P-1", Name="Frame")
    Link.objects.create(customer=acme, reference="a", title="Manual", url="https://example.org/")
    assert shipper.ship_once(hot) == []
    for place in ("primary", "offsite"):
        found = shipped(hot, place, acme)
        assert numbers(found) == [1, 2]
        assert [change.model for section in found for change in section.changes] == [
            "l2l_subscriptions.datarecord",
            "l2l_subscriptions.link",
        ]
        assert all(change.end for section in found for change in section.changes)
    rows = JournalRow.objects.filter(stream=acme.pk).order_by("number")
    assert [row.digest for row in rows][-1] == ChainHead.objects.get(pk=acme.pk).digest == shipped(hot, "offsite", acme)[-1].head.digest
    assert not SegmentCopy.objects.filter(durable_at=None).exists()
    assert {hour.changes >= 2 for hour in LossHour.objects.all()} == {True}


def test_a_second_shipping_ships_only_what_is_new(hot, acme):
    row = record(acme, "P-1")
    shipper.ship_once(hot)
    row.data = {"Name": "Fork"}
    row.save()
    row.delete()
    shipper.ship_once(hot)
    assert numbers(shipped(hot, "primary", acme)) == [1, 2, 3]
    assert [change.row.count(b'"history_type":"-"') for change in shipped(hot, "primary", acme)[-1].changes] == [0, 1]


def test_one_segment_has_the_changes_of_all_customers_and_one_object_a_location(hot, acme, acme2, stores):
    shipper.ship_once(hot)
    record(acme, "P-1")
    record(acme2, "P-1")
    before = {name: len(list(store.list("hot/"))) for name, store in stores.items()}
    with shipper.leading(hot) as leader:
        leader._shipped_at = float("inf")  # no idle mark
        leader.keys.get(acme.pk)
        leader.keys.get(acme2.pk)
        until_at_rest(leader)
    assert {name: len(list(stores[name].list("hot/"))) - count for name, count in before.items()} == {"primary": 1, "offsite": 1}
    assert numbers(shipped(hot, "offsite", acme)) == numbers(shipped(hot, "offsite", acme2)) == [1]


def until_at_rest(leader: Leader) -> None:
    import time

    deadline = time.monotonic() + 60
    leader.tick()
    while not leader.at_rest:
        leader.tick()
        time.sleep(0.01)
        assert time.monotonic() < deadline, "the shipper does not come to rest"
    leader.tick()


def test_nothing_to_ship_writes_an_idle_mark_and_then_nothing(hot, acme, stores):
    shipper.ship_once(hot)
    shipper.ship_once(hot)
    with shipper.leading(hot) as leader:
        until_at_rest(leader)
        count = len(list(stores["primary"].list("hot/")))
        assert not any(leader.tick() for _ in range(3))
    assert len(list(stores["primary"].list("hot/"))) == count


def test_a_transaction_that_is_rolled_back_is_never_shipped(hot, acme):
    with pytest.raises(RuntimeError), transaction.atomic():
        record(acme, "P-1")
        raise RuntimeError
    record(acme, "P-2")
    shipper.ship_once(hot)
    [section] = shipped(hot, "primary", acme)
    assert [b'"P-2"' in change.row for change in section.changes] == [True]


def test_a_long_transaction_takes_turns_and_ends_with_its_mark(hot, acme, acme2, monkeypatch):
    monkeypatch.setattr("backups.hot.outbox.MOST_CHANGES", 10)
    DataRecord.objects.tracked_create(DataRecord(customer=acme, kind="part", reference=f"P-{one}", data={}) for one in range(35))
    record(acme2, "Q-1")
    record(acme, "P-after")
    shipper.ship_once(hot)
    found = shipped(hot, "primary", acme)
    assert numbers(found) == list(range(1, 37))
    assert [change.number for section in found for change in section.changes if change.end] == [35, 36]
    first_of_acme2 = shipped(hot, "primary", acme2)[0].segment
    assert first_of_acme2 <= found[1].segment, "another customer's change waited for the whole long transaction"


def test_a_location_that_is_down_is_owed_and_caught_up_in_order(hot, acme, stores):
    record(acme, "P-1")
    stores["offsite"].fail = refusing
    assert shipper.ship_once(hot, patience=5) == ["offsite"]
    record(acme, "P-2")
    assert shipper.ship_once(hot, patience=5) == ["offsite"]
    assert numbers(shipped(hot, "primary", acme)) == [1, 2]
    stores["offsite"].fail = None
    assert shipper.ship_once(hot) == []
    assert numbers(shipped(hot, "offsite", acme)) == [1, 2]
    assert not SegmentCopy.objects.filter(durable_at=None).exists()


def refusing(operation: str, name: str) -> None:
    from backups.stores.contract import StoreUnavailable

    if operation != "get" or not name.startswith("format"):
        raise StoreUnavailable("the line is down")


def test_an_upload_is_stored_beside_its_row_at_every_location(hot, acme):
    UploadedContent.objects.create(customer=acme, name="plan.txt", file=ContentFile(b"plan " * 1000, name="plan.txt"))
    assert shipper.ship_once(hot) == []
    [file] = HotFile.objects.all()
    assert (file.state, file.segment is not None) == ("stored", True)
    for place in ("primary", "offsite"):
        [entry] = [entry for section in shipped(hot, place, acme) for entry in section.files]
        assert entry.name == file.name
        assert bytes_of(hot, place, acme, entry) == b"plan " * 1000


def bytes_of(vault: Vault, place: str, customer: Any, entry: Any) -> bytes:
    [store] = [one.store for one in vault.places if one.name == place]
    key = key_at(vault.keys, vault.places, customer.pk, entry.key, [])
    pieces = []
    for blob, offset, length in entry.parts:
        plain = unseal(store.get(f"customers/{customer.pk}/blobs/{blob[:2]}/{blob}"), key.identity, limit=8 * 1024 * 1024)
        pieces.append(plain[offset : offset + length])
    return b"".join(pieces)


def test_an_upload_of_several_blobs_and_one_that_only_its_row_changed(hot, acme):
    data = bytes(range(256)) * 4 * 1024 * 9
    one = UploadedContent.objects.create(customer=acme, name="big.bin", file=ContentFile(data, name="big.bin"))
    shipper.ship_once(hot)
    one.name = "renamed.bin"
    one.save()
    shipper.ship_once(hot)
    [file] = HotFile.objects.all()
    assert len({part[0] for part in file.parts}) == 2
    [entry] = [entry for section in shipped(hot, "offsite", acme) for entry in section.files]
    assert bytes_of(hot, "offsite", acme, entry) == data


def test_an_upload_that_the_storage_lost_is_said_to_be_absent(hot, acme):
    one = UploadedContent.objects.create(customer=acme, name="gone.txt", file=ContentFile(b"x", name="gone.txt"))
    one.file.storage.delete(one.file.name)
    shipper.ship_once(hot)
    [entry] = [entry for section in shipped(hot, "primary", acme) for entry in section.files]
    assert entry.parts is None


def test_what_a_killed_leader_numbered_is_shipped_again_with_the_same_digests(hot, acme, monkeypatch):
    record(acme, "P-1")
    with pytest.raises(KeyboardInterrupt), shipper.leading(hot) as leader:
        monkeypatch.setattr(leader, "_make_and_submit", interrupted)
        leader.keys.get(acme.pk)
        leader.tick()
    digest = JournalRow.objects.get(stream=acme.pk).digest
    assert digest
    assert shipped(hot, "primary", acme) == []
    shipper.ship_once(hot)
    assert [section.head.digest for section in shipped(hot, "offsite", acme)] == [digest]
    assert Segment.objects.get(pk=JournalRow.objects.get(stream=acme.pk).segment).epoch == 2


def interrupted(*arguments: Any) -> None:
    raise KeyboardInterrupt


def interrupted_when_there_are_any(desk: Any, streams: Any, segment: int) -> None:
    if list(streams):
        raise KeyboardInterrupt


def test_a_backup_beside_the_shipper_keeps_its_files(hot, acme):
    from audit.models import Stream
    from backups.nightly import back_up

    UploadedContent.objects.create(customer=acme, name="plan.txt", file=ContentFile(b"plan", name="plan.txt"))
    shipper.ship_once(hot)
    for _ in range(2):
        outcome = back_up(hot, Stream.objects.get(pk=acme.pk))
        assert outcome.good
        assert outcome.notes == []
    [entry] = [entry for section in shipped(hot, "primary", acme) for entry in section.files]
    assert bytes_of(hot, "primary", acme, entry) == b"plan"
    assert outcome.backup_set.journal_number == ChainHead.objects.get(pk=acme.pk).number
    assert outcome.backup_set.segment == HotState.objects.get().last_segment


def go_back_in_time() -> None:
    """As a database restored from yesterday would be."""
    with transaction.atomic():
        Segment.objects.all().delete()
        HotState.objects.update(last_segment=0)
        ChainHead.objects.all().delete()
        JournalRow.objects.update(number=None, digest=None, leaf=None, salt=None, segment=None)


def test_a_database_that_went_back_in_time_ships_no_more(hot, acme):
    record(acme, "P-1")
    shipper.ship_once(hot)
    go_back_in_time()
    with pytest.raises(shipper.WentBack, match="went back in time"):
        shipper.ship_once(hot)
    with pytest.raises(shipper.Stopped, match="new timeline"):
        shipper.ship_once(hot)
    assert HotState.objects.get().stopped_at is not None


def test_a_new_timeline_goes_on_behind_all_numbers_that_a_location_knows(hot, acme):
    from backups.hot import timelines

    test_a_database_that_went_back_in_time_ships_no_more(hot, acme)
    timeline = timelines.begin(hot, by="olga", reason="the disk burned, the dump is from yesterday")
    assert timeline.forks == {str(acme.pk): [0, "0" * 64, 1]} | {
        stream: fork for stream, fork in timeline.forks.items() if uuid.UUID(stream) != acme.pk
    }
    assert shipper.ship_once(hot) == []
    found = shipped(hot, "primary", acme)
    assert [(section.timeline, numbers([section])) for section in found] == [(1, [1]), (2, [2])]
    assert found[1].segment >= timeline.first_segment


def test_a_database_that_goes_back_before_a_new_timeline_begins_a_third(hot, acme):
    from backups.hot import timelines

    test_a_new_timeline_goes_on_behind_all_numbers_that_a_location_knows(hot, acme)
    with transaction.atomic():
        Timeline.objects.all().delete()
        HotState.objects.update(timeline=1)
    go_back_in_time()
    with pytest.raises(shipper.WentBack):
        shipper.ship_once(hot)
    assert timelines.begin(hot, by="olga", reason="again").number == 3
    shipper.ship_once(hot)
    assert [section.timeline for section in shipped(hot, "primary", acme)][-1] == 3
    every = numbers(shipped(hot, "primary", acme))
    assert sorted(set(every)) == sorted(every), "a number was given twice"


def test_one_customers_object_that_cannot_be_stored_holds_nobody_up(hot, acme, acme2, stores):
    """As when something stands in its folder's place at every location."""
    from backups.stores.contract import BadName

    def in_the_way(operation: str, name: str) -> None:
        if operation == "put" and f"customers/{acme.pk}/blobs" in name:
            raise BadName(f"{name} has an object in its way")

    for store in stores.values():
        store.fail = in_the_way
    for customer in (acme, acme2):
        UploadedContent.objects.create(customer=customer, name="plan.txt", file=ContentFile(b"plan", name="plan.txt"))
    shipper.ship_once(hot, patience=2)
    assert numbers(shipped(hot, "offsite", acme)) == numbers(shipped(hot, "offsite", acme2)) == [1]
    assert [entry.name for section in shipped(hot, "offsite", acme2) for entry in section.files]
    assert HotFile.objects.get(stream=acme.pk).state == "waiting"
    for store in stores.values():
        store.fail = None
    assert shipper.ship_once(hot) == []
    [entry] = [entry for section in shipped(hot, "offsite", acme) for entry in section.files]
    assert bytes_of(hot, "offsite", acme, entry) == b"plan"


def test_a_location_that_was_down_when_a_key_was_made_gets_it_before_it_counts(hot, acme, stores):
    record(acme, "P-1")
    stores["offsite"].fail = refusing
    shipper.ship_once(hot, patience=4)
    stores["offsite"].fail = None
    assert shipper.ship_once(hot) == []
    key = key_at(hot.keys, [place for place in hot.places if place.name == "offsite"], acme.pk, 1, [])
    assert key.number == 1
    assert numbers(shipped(hot, "offsite", acme)) == [1]


def test_a_key_that_one_location_missed_by_chance_is_brought_there(hot, acme, stores):
    from backups.stores.contract import StoreUnavailable

    def hiccup(operation: str, name: str) -> None:
        if operation == "put" and name.startswith("keys/"):
            raise StoreUnavailable("one moment")

    stores["offsite"].fail = hiccup
    record(acme, "P-1")
    with shipper.leading(hot) as leader:
        leader.keys.get(acme.pk)
        stores["offsite"].fail = None
        until_at_rest(leader)
    assert stores["offsite"].exists(f"keys/{acme.pk}/1.age")


def test_an_entry_that_a_killed_leader_did_not_carry_is_carried_by_the_next(hot, acme, monkeypatch):
    UploadedContent.objects.create(customer=acme, name="plan.txt", file=ContentFile(b"plan", name="plan.txt"))
    with pytest.raises(KeyboardInterrupt), shipper.leading(hot) as leader:
        leader.keys.get(acme.pk)
        monkeypatch.setattr("backups.hot.uploads.Desk.carried", interrupted_when_there_are_any)
        until_at_rest(leader)
    monkeypatch.undo()
    assert HotFile.objects.get().state == "stored"
    assert shipper.ship_once(hot, patience=20) == []
    [entry] = [entry for section in shipped(hot, "offsite", acme) for entry in section.files]
    assert bytes_of(hot, "offsite", acme, entry) == b"plan"


def test_a_blob_of_a_file_that_is_done_outlives_one_that_is_done_again(hot, acme):
    """Two files share a blob; the shipper was killed while it read the second one's further blobs."""
    for name in ("one.txt", "two.txt"):
        UploadedContent.objects.create(customer=acme, name=name, file=ContentFile(name.encode(), name=name))
    shipper.ship_once(hot)
    one, two = HotFile.objects.order_by("id")
    assert one.parts[0][0] == two.parts[0][0]
    HotFile.objects.filter(pk=two.pk).update(state="waiting", segment=None)
    assert shipper.ship_once(hot, patience=20) == []
    assert Blob.objects.get(pk=one.parts[0][3]).hot
    two.refresh_from_db()
    assert two.state == "stored"


def test_history_removed_before_it_was_shipped_stops_that_customer_alone(hot, acme, acme2, tmp_path):
    record(acme, "P-1")
    record(acme2, "P-1")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM l2l_subscriptions_historicaldatarecord WHERE history_stream = %s", [_raw(acme.pk)])
    shipper.ship_once(hot, patience=1.5)
    assert numbers(shipped(hot, "offsite", acme2)) == [1]
    assert shipped(hot, "offsite", acme) == []
    shipper.ship_once(hot, patience=1.5)
    newest = Segment.objects.order_by("-number")[0]
    assert str(acme.pk) in newest.waiting  # for everybody else all is known
    assert str(acme2.pk) not in newest.waiting
    assert newest.until > JournalRow.objects.get(stream=acme2.pk).written_at


def _raw(key: uuid.UUID) -> Any:
    return key if connection.vendor == "postgresql" else key.hex


def test_an_upload_that_cannot_be_read_now_waits_and_holds_up_no_other(hot, acme, acme2, uploads):
    from pathlib import Path

    rows = [
        UploadedContent.objects.create(customer=one, name="plan.txt", file=ContentFile(b"plan", name="plan.txt")) for one in (acme, acme2)
    ]
    path = Path(rows[0].file.path)
    path.rename(path.with_suffix(".aside"))
    path.mkdir()
    shipper.ship_once(hot, patience=2)
    assert [entry.name for section in shipped(hot, "offsite", acme2) for entry in section.files] == [rows[1].file.name]
    assert HotFile.objects.get(stream=acme.pk).state == "waiting"
    path.rmdir()
    path.with_suffix(".aside").rename(path)
    assert shipper.ship_once(hot, patience=20) == []
    assert [entry.parts is not None for section in shipped(hot, "offsite", acme) for entry in section.files] == [True]


def test_a_location_that_could_not_be_listed_is_looked_at_before_anything_is_put_there(hot, acme, stores):
    """The database went back in time while the one location that knows it was down."""
    record(acme, "P-1")
    shipper.ship_once(hot)
    for entry in list(stores["primary"].list("hot/")):
        stores["primary"].remove(entry.name)
    go_back_in_time()
    before = {entry.name for entry in stores["offsite"].list("hot/")}
    stores["offsite"].fail = refusing
    with pytest.raises(shipper.WentBack, match="offsite"), shipper.leading(hot) as leader:
        leader.keys.get(acme.pk)
        for _ in range(5):
            leader.tick()
        stores["offsite"].fail = None
        until_at_rest_of_offsite(leader)
    assert {entry.name for entry in stores["offsite"].list("hot/")} == before
    assert HotState.objects.get().stopped


def until_at_rest_of_offsite(leader: Leader) -> None:
    import time

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        leader.tick()
        time.sleep(0.05)


def test_a_segment_that_cannot_be_made_yet_holds_up_no_later_one(hot, acme, acme2, monkeypatch):
    from backups.errors import NoLocation

    record(acme, "P-1")
    with pytest.raises(KeyboardInterrupt), shipper.leading(hot) as leader:
        monkeypatch.setattr(leader, "_make_and_submit", interrupted)
        leader.keys.get(acme.pk)
        leader.tick()
    record(acme2, "P-1")
    with shipper.leading(hot) as leader:
        get = leader.keys.get

        def missing(stream: uuid.UUID) -> Any:
            if stream == acme.pk:
                raise NoLocation("its key is at a location that is down")
            return get(stream)

        monkeypatch.setattr(leader.keys, "get", missing)
        leader._unmade = [Segment.objects.get(number=JournalRow.objects.get(stream=acme.pk).segment).number]
        Segment.objects.filter(number__in=leader._unmade).update(sha256="")
        leader._sent.clear()
        leader._make_unmade()
        get(acme2.pk)
        for _ in range(20):
            leader.tick()
    assert numbers(shipped(hot, "primary", acme2)) == [1]
    assert shipper.ship_once(hot) == []
    assert {change.number for section in shipped(hot, "offsite", acme) for change in section.changes} == {1}


def test_a_file_whose_key_cannot_be_had_holds_up_no_other_customers(hot, acme, acme2, monkeypatch):
    for customer in (acme, acme2):
        UploadedContent.objects.create(customer=customer, name="plan.txt", file=ContentFile(b"plan", name="plan.txt"))
    shipper.ship_once(hot)
    HotFile.objects.update(state="waiting", segment=None)
    unlucky = HotFile.objects.order_by("id").first().stream_id
    get = Keys.get

    def refused(self, stream):
        if stream == unlucky:
            raise BackupError("the key of this customer is nowhere whole")
        return get(self, stream)

    monkeypatch.setattr(Keys, "get", refused)
    shipper.ship_once(hot, patience=20)
    assert {one.stream_id == unlucky: one.state for one in HotFile.objects.all()} == {True: "waiting", False: "stored"}
