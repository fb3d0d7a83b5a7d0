"""Locations: how they are named, prepared and recognised, and what becomes of one that is lost, foreign, damaged or new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.signing import Signer, new_secret
from backups import keyfiles, locations
from backups.errors import BackupError
from backups.locations import FORMAT_FILE, README_FILE, Named, credentials_of, named_locations, prepare, sync_locations, trouble_of
from backups.models import Copy, Location
from backups.restore import restore
from backups.stores.contract import StoreRefused, StoreUnavailable
from backups.stores.folder import FolderStore
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.test_back_up import assert_restored, backed_up, fill, read

FOLDERS = ["customers", "system", "keys", "hot", "ended"]


@pytest.fixture
def signer(key_folder: Path) -> Signer:
    return keyfiles.signer(key_folder)


@pytest.fixture
def store(signer: Signer) -> MemoryStore:
    """A prepared location."""
    store = MemoryStore("memory:somewhere")
    prepared(store, signer)
    return store


def prepared(store: Any, signer: Signer) -> None:
    prepare(store, signer, "read me\n", made="2026-03-01", sample=False)


def test_locations_are_named_in_one_line() -> None:
    found = named_locations("primary=file:///srv/a\n  far=s3://bucket/l2l?region=eu-central-1&x=y ", ["far"])
    assert found == [Named("primary", "file:///srv/a", False), Named("far", "s3://bucket/l2l?region=eu-central-1&x=y", True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no location"),
        ("primary", "'primary' is not of the form name=url"),
        ("=file:///a", "is not of the form name=url"),
        ("my-disk=file:///a", "letters, digits and '_'"),
        ("größe=file:///a", "letters, digits and '_'"),
        (f"{'a' * 41}=file:///a", "up to 40 letters"),
        ("a=file:///a a=file:///b", "a location twice"),
        ("far=file:///a FAR=file:///b", "a location twice"),
        ("a=file:///a b=file:///a/", "one copy that counts as two"),
    ],
)
def test_what_is_wrong_with_their_names_is_said(text: str, message: str) -> None:
    with pytest.raises(BackupError, match=message):
        named_locations(text, [])


def test_credentials_come_from_the_environment_or_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    direct = {"L2L_LOCATION_FAR_ACCESS_KEY_ID": "id", "L2L_LOCATION_FAR_SECRET_ACCESS_KEY": "direct"}
    found = credentials_of("far", direct)
    assert found is not None and (found.access_key_id, found.secret_access_key) == ("id", "direct")
    with_file = credentials_of("far", {**direct, "L2L_LOCATION_FAR_SECRET_ACCESS_KEY_FILE": str(tmp_path / "secret")})
    assert with_file is not None and with_file.secret_access_key == "from-a-file"
    assert "from-a-file" not in repr(with_file)


def test_half_of_the_credentials_are_none() -> None:
    assert credentials_of("far", {"L2L_LOCATION_FAR_ACCESS_KEY_ID": "id"}) is None
    assert credentials_of("far", {"L2L_LOCATION_NEAR_ACCESS_KEY_ID": "id", "L2L_LOCATION_NEAR_SECRET_ACCESS_KEY": "s"}) is None


def test_a_file_of_credentials_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="secret-that-is-not-there"):
        credentials_of("far", {"L2L_LOCATION_FAR_ACCESS_KEY_ID_FILE": str(tmp_path / "secret-that-is-not-there")})


@pytest.mark.django_db
def test_the_rows_follow_the_environment_and_none_is_ever_lost() -> None:
    def synced(*named: Named) -> list[tuple[str, str, int]]:
        return [(row.name, row.url, row.position) for row in sync_locations(list(named))]

    assert synced(Named("a", "file:///a", False), Named("b", "file:///b", True)) == [("a", "file:///a", 0), ("b", "file:///b", 1)]
    first = Location.objects.get(name="b")
    assert first.offsite and first.in_force
    assert synced(Named("c", "file:///b", True)) == [("c", "file:///b", 0)]  # renamed, and the other one dropped
    assert list(Location.objects.filter(in_force=True).values_list("name", flat=True)) == ["c"]
    assert synced(Named("b", "s3://moved/b", False), Named("a", "file:///a", False)) == [("b", "s3://moved/b", 0), ("a", "file:///a", 1)]
    again = Location.objects.get(name="b")
    assert again.pk == first.pk and again.in_force and not again.offsite
    assert Location.objects.count() == 3


def test_preparing_writes_a_signed_format_file_and_a_readme(store: MemoryStore, signer: Signer) -> None:
    assert set(store.objects) == {FORMAT_FILE, README_FILE}
    document = json.loads(store.objects[FORMAT_FILE])
    assert (document["format"], document["sample"], document["made"]) == (1, False, "2026-03-01")
    assert trouble_of(store, signer.fingerprint) is None


def test_preparing_again_changes_nothing_and_adds_what_is_missing(store: MemoryStore, signer: Signer) -> None:
    before = dict(store.objects)
    prepare(store, signer, "another text\n", made="2027-01-01", sample=True)
    assert store.objects == before
    del store.objects[README_FILE]
    prepared(store, signer)
    assert store.objects == before


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_location_with_backups_and_no_format_file_is_not_taken_for_new(signer: Signer, folder: str) -> None:
    used = MemoryStore("memory:used")
    used.put(f"{folder}/something", b"somebody's")
    with pytest.raises(StoreRefused, match=r"memory:used holds backups but no format-v1.json\. Find out whose"):
        prepared(used, signer)
    assert set(used.objects) == {f"{folder}/something"}


def test_the_location_of_another_installation_is_refused(store: MemoryStore) -> None:
    stranger = Signer(new_secret())
    before = dict(store.objects)
    with pytest.raises(StoreRefused, match=f"another installation .*ours is {stranger.fingerprint[:16]}…"):
        prepared(store, stranger)
    assert isinstance(trouble_of(store, stranger.fingerprint), StoreRefused)
    assert store.objects == before


def damaged_format_files(store: MemoryStore) -> dict[str, bytes]:
    whole = store.objects[FORMAT_FILE]
    return {
        "cut": whole[:40],
        "empty": b"",
        "not text": b"\xff" + whole,
        "altered": whole.replace(b'"sample": false', b'"sample": true'),
        "a list": b"[]",
        "a number": b"7",
        "unsigned": b"{}",
        "signed by a word": b'{"signed_by": "me"}',
        "signed by nobody": b'{"signed_by": {}}',
    }


@pytest.mark.parametrize("how", range(9))
def test_a_damaged_format_file_is_said_and_left_as_it_is(store: MemoryStore, signer: Signer, how: int) -> None:
    damaged = list(damaged_format_files(store).values())[how]
    store.objects[FORMAT_FILE] = damaged
    trouble = trouble_of(store, signer.fingerprint)
    assert isinstance(trouble, StoreRefused) and "damaged format-v1.json" in str(trouble)
    with pytest.raises(StoreRefused, match="Put it back from another location"):
        prepared(store, signer)
    assert store.objects[FORMAT_FILE] == damaged


@pytest.mark.django_db(transaction=True)
def test_one_location_with_a_damaged_format_file_stops_no_backup(acme: Any, vault: Vault, folders: dict[str, Path]) -> None:
    file = folders["primary"] / FORMAT_FILE
    file.write_text(file.read_text().replace('"sample": true', '"sample": false'))
    outcome = backed_up(vault, acme)
    assert outcome.whole_at == ["offsite"] and "damaged" in outcome.troubles["primary"]
    assert "damaged" in Location.objects.get(name="primary").trouble


def test_a_folder_that_is_not_mounted_is_unavailable_and_never_made(tmp_path: Path, signer: Signer) -> None:
    store = FolderStore(tmp_path / "mount" / "backups")
    assert isinstance(trouble_of(store, signer.fingerprint), StoreUnavailable)
    with pytest.raises(StoreUnavailable, match="mount it"):
        prepared(store, signer)
    assert not list(tmp_path.iterdir())


def test_the_empty_mount_point_of_a_prepared_location_is_unavailable(tmp_path: Path, signer: Signer) -> None:
    trouble = trouble_of(FolderStore(tmp_path), signer.fingerprint)
    assert isinstance(trouble, StoreUnavailable) and "not mounted, or never prepared" in str(trouble)
    assert not list(tmp_path.iterdir())


@pytest.mark.django_db(transaction=True)
def test_a_location_added_later_has_all_older_sets_after_the_next_night(
    acme: Any, make_vault: Callable[..., Vault], folders: dict[str, Path], clock: Any, tmp_path: Path
) -> None:
    fill(acme)
    alone = make_vault(primary=FolderStore(folders["primary"]))
    first = backed_up(alone, acme).backup_set
    clock.forward(days=1)
    records = DataRecord.objects.filter(customer=acme).count()
    DataRecord.objects.create(customer=acme, kind="part", reference="later")
    backed_up(alone, acme)
    clock.forward(days=1)
    both = make_vault(primary=FolderStore(folders["primary"]), offsite=FolderStore(folders["offsite"]))
    outcome = backed_up(both, acme)
    assert outcome.good and outcome.caught_up > 0 and outcome.owed["offsite"] == (0, 0)
    folders["primary"].rename(tmp_path / "burnt")
    restore(both.only("offsite"), acme, tmp_path / "newest")
    assert_restored(tmp_path / "newest", acme)
    restore(both.only("offsite"), acme, tmp_path / "oldest", set_id=str(first.pk))
    assert len(read(tmp_path / "oldest/rows/l2l_subscriptions.datarecord.ndjson")) == records


@pytest.mark.django_db(transaction=True)
def test_a_dropped_location_is_left_alone_and_caught_up_when_it_is_named_again(
    acme: Any, make_vault: Callable[..., Vault], folders: dict[str, Path], clock: Any, tmp_path: Path
) -> None:
    stores = {name: FolderStore(folder) for name, folder in folders.items()}
    fill(acme)
    backed_up(make_vault(**stores), acme)
    before = sorted(folders["offsite"].rglob("*"))
    clock.forward(days=1)
    DataRecord.objects.create(customer=acme, kind="part", reference="later")
    outcome = backed_up(make_vault(primary=stores["primary"]), acme)
    assert outcome.good and outcome.whole_at == ["primary"] and "offsite" not in outcome.owed
    assert sorted(folders["offsite"].rglob("*")) == before
    clock.forward(days=1)
    again = make_vault(**stores)
    assert backed_up(again, acme).good
    assert not Copy.objects.filter(state=Copy.State.OWED).exists()
    restore(again.only("offsite"), acme, tmp_path / "out", set_id=str(outcome.backup_set.pk))
    assert_restored(tmp_path / "out", acme)


@pytest.mark.django_db(transaction=True)
def test_a_damaged_key_at_one_location_is_taken_from_another_and_said(
    acme: Any, vault: Vault, folders: dict[str, Path], tmp_path: Path
) -> None:
    fill(acme)
    backed_up(vault, acme)
    key = folders["primary"] / f"keys/{acme.pk}/1.age"
    key.write_bytes(key.read_bytes()[:-1] + b"?")
    report = restore(vault, acme, tmp_path / "out")
    assert any("key was taken from offsite, for primary" in note for note in report.notes)
    assert_restored(tmp_path / "out", acme)


@pytest.mark.django_db(transaction=True)
def test_a_damaged_key_is_put_back_within_a_month(acme: Any, vault: Vault, folders: dict[str, Path], clock: Any) -> None:
    backed_up(vault, acme)
    key = folders["offsite"] / f"keys/{acme.pk}/1.age"
    whole = key.read_bytes()
    key.write_bytes(whole[:-1] + b"?")
    clock.forward(days=31)
    outcome = backed_up(vault, acme)
    assert outcome.good and key.read_bytes() == whole
    assert any("damaged at offsite" in note for note in outcome.notes)


@pytest.mark.django_db(transaction=True)
def test_an_object_that_a_location_lists_and_cannot_read_stops_no_backup(acme: Any, make_vault: Callable[..., Vault], clock: Any) -> None:
    """A bad sector under an object of a run that was cut short."""
    stores = {"primary": MemoryStore("memory:primary"), "offsite": MemoryStore("memory:offsite")}
    vault = make_vault(**stores)
    fill(acme)
    _cut_short(vault, stores["primary"], acme)
    (lost,) = [name for name in stores["primary"].objects if "/blobs/" in name][:1]

    def bad_sector(operation: str, name: str) -> None:
        if operation == "get" and name == lost:
            raise StoreUnavailable("memory:primary failed at its disk")

    stores["primary"].fail = bad_sector
    clock.forward(minutes=5)
    outcome = backed_up(vault, acme)
    assert "offsite" in outcome.whole_at and "failed at its disk" in outcome.troubles["primary"]


def _cut_short(vault: Vault, store: MemoryStore, customer: Any) -> None:
    """A backup that dies after its first blob was put at the store and before that was recorded."""

    class Died(BaseException):
        pass

    def die(operation: str, name: str) -> None:
        if operation == "get" and "/blobs/" in name:
            raise Died

    store.fail = die
    with pytest.raises(Died):
        backed_up(vault, customer, workers=0)
    store.fail = None


def test_a_location_is_found_by_name_or_the_others_are_listed(store: MemoryStore) -> None:
    vault = Vault((locations.Place(Location(name="a"), store),), None, None, Path())  # type: ignore[arg-type]
    assert vault.only(None) is vault and vault.only("a").places == vault.places
    with pytest.raises(BackupError, match="no location 'b'; there are: a"):
        vault.only("b")
