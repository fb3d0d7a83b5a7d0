"""Two locations in versioned buckets of two clusters that know nothing of each other, and what befalls one of them (P3, P4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from django.core.files.base import ContentFile

from backups import locations
from backups.locations import Place
from backups.models import Location
from backups.restore import restore
from backups.stores.contract import Store
from backups.stores.s3 import S3Store
from backups.vault import Vault
from subscriptions.models import UploadedContent
from tests.backups.test_back_up import assert_restored, backed_up, fill
from tests.rgw.cluster import Cluster
from tests.rgw.sites import Site, new_site

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

LARGE = 9_000_000


def fill_well(customer: Any, files: int = 4) -> None:
    """More than fits in one blob, so that there is a middle to be struck in."""
    fill(customer)
    add_files(customer, files)


def add_files(customer: Any, number: int) -> None:
    for _ in range(number):
        UploadedContent.objects.create(customer=customer, name=os.urandom(4).hex(), file=ContentFile(os.urandom(LARGE), name="x"))


def with_store(vault: Vault, name: str, store: Store) -> Vault:
    """The vault with another way into one location."""
    return replace(vault, places=tuple(Place(place.location, store) if place.name == name else place for place in vault.places))


def assert_each_alone_restores(vault: Vault, customer: Any, folder: Path) -> None:
    for place in vault.places:
        assert restore(vault.only(place.name), customer, folder / place.name).good
        assert_restored(folder / place.name, customer)


def assert_a_part_is_there(there: dict[str, bytes], whole: dict[str, bytes]) -> None:
    """Some of the other location's objects, each with its bytes, and no set that claims what is not there. How many is the server's
    affair: it holds puts that come at the same time against sums that are a moment old, and lets a little more in than it was told.
    """
    format_file = f"backups/{locations.FORMAT_FILE}"  # signed by each location for itself
    shared = set(there) - {format_file}
    assert shared < set(whole) - {format_file}
    assert {name: there[name] for name in shared} == {name: whole[name] for name in shared}
    assert not [name for name in shared if "/sets/" in name and name.endswith(".json")]


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "restore.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class StruckDown(S3Store):
    """Its server is killed when the so many-th object is on its way."""

    def strike(self, cluster: Cluster, at: int) -> StruckDown:
        self.cluster, self.left, self.lock = cluster, at, Lock()
        return self

    def put(self, name: str, data: bytes) -> None:
        with self.lock:
            self.left -= 1
            if self.left == 0:
                self.cluster.kill()
        super().put(name, data)


def test_what_comes_out_of_offsite_alone_is_what_went_in(acme: Any, vault: Vault, primary: Site, offsite: Site, tmp_path: Path) -> None:
    fill_well(acme)
    outcome = backed_up(vault, acme)
    assert outcome.good and outcome.whole_at == ["primary", "offsite"] and not outcome.troubles
    restore(vault.only("offsite"), acme, tmp_path / "out")
    assert_restored(tmp_path / "out", acme)
    for site in (primary, offsite):
        site.assert_nothing_half_written()
        assert len(site.versions()) == len(site.objects())
    format_file = f"backups/{locations.FORMAT_FILE}"
    assert {name: data for name, data in primary.objects().items() if name != format_file} == {
        name: data for name, data in offsite.objects().items() if name != format_file
    }


@pytest.mark.parametrize("struck", ["primary", "offsite"])
def test_a_server_killed_in_the_middle_stops_nothing(
    acme: Any, make_vault: Callable[..., Vault], steady: Cluster, shaky: Cluster, tmp_path: Path, struck: str
) -> None:
    sites = {name: new_site(shaky if name == struck else steady) for name in ("primary", "offsite")}
    (spared,) = set(sites) - {struck}
    vault = make_vault(**{name: site.store for name, site in sites.items()})
    fill_well(acme)
    falling = StruckDown(sites[struck].bucket, "backups", shaky.endpoint, "us-east-1", *sites[struck].keys).strike(shaky, at=4)
    outcome = backed_up(with_store(vault, struck, falling), acme)
    assert outcome.whole_at == [spared] and not outcome.good
    assert "try again later" in outcome.troubles[struck] and outcome.owed[struck][0] > 0
    restore(vault.only(spared), acme, tmp_path / "while down")
    assert_restored(tmp_path / "while down", acme)
    shaky.start()
    sites[struck].assert_nothing_half_written()
    again = backed_up(vault, acme)
    assert again.good and again.caught_up > 0 and again.whole_at == ["primary", "offsite"] and not any(again.owed[struck])
    assert_each_alone_restores(vault, acme, tmp_path)


def test_a_server_that_is_down_for_two_nights_is_caught_up(acme: Any, vault: Vault, offsite: Site, clock: Any, tmp_path: Path) -> None:
    fill(acme)
    assert backed_up(vault, acme).good
    offsite.cluster.stop()
    sets = []
    for _ in range(2):
        clock.forward(days=1)
        add_files(acme, 1)
        outcome = backed_up(vault, acme)
        assert outcome.whole_at == ["primary"] and "could not be reached" in outcome.troubles["offsite"]
        sets.append(outcome.backup_set)
    offsite.cluster.start()
    clock.forward(days=1)
    assert backed_up(vault, acme).good
    for missed in sets:
        missed.refresh_from_db()
        assert missed.protected_at == clock.now
        for name in ("primary", "offsite"):
            restore(vault.only(name), acme, tmp_path / f"{name} {missed.pk}", set_id=str(missed.pk))
        assert contents(tmp_path / f"primary {missed.pk}") == contents(tmp_path / f"offsite {missed.pk}")
    assert_each_alone_restores(vault, acme, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"), [((0, "unknown-key"), "access key is unknown"), ((1, "wrong-testsecret"), "secret key is wrong")]
)
def test_wrong_credentials_are_said_and_the_other_location_goes_on(
    acme: Any, vault: Vault, offsite: Site, wrong: tuple[int, str], message: str
) -> None:
    fill(acme)
    keys = (wrong[1], offsite.keys[1]) if wrong[0] == 0 else (offsite.keys[0], wrong[1])
    outcome = backed_up(with_store(vault, "offsite", offsite.store_with(keys)), acme)
    assert outcome.whole_at == ["primary"] and list(outcome.troubles) == ["offsite"]
    trouble = outcome.troubles["offsite"]
    assert message in trouble and "correct the credentials" in trouble and offsite.bucket in trouble
    shown = f"{outcome} {Location.objects.get(name='offsite').trouble}"
    assert "testsecret" not in shown and trouble[:500] in shown
    assert backed_up(vault, acme).good


def test_a_full_bucket_takes_whole_objects_or_none_and_is_caught_up_once_there_is_room(
    acme: Any, vault: Vault, primary: Site, offsite: Site, tmp_path: Path
) -> None:
    fill_well(acme)
    offsite.cluster.limit(offsite.user, 2 * LARGE)
    outcome = backed_up(vault, acme)
    assert outcome.whole_at == ["primary"] and not outcome.good
    assert "QuotaExceeded" in outcome.troubles["offsite"] and "raise it or free space" in outcome.troubles["offsite"]
    offsite.assert_nothing_half_written()
    assert_a_part_is_there(offsite.objects(), primary.objects())
    offsite.cluster.limit(offsite.user, 20 * LARGE)
    assert backed_up(vault, acme).good
    assert_each_alone_restores(vault, acme, tmp_path)


def test_a_deleted_bucket_is_said_and_its_successor_is_given_everything(acme: Any, vault: Vault, offsite: Site, tmp_path: Path) -> None:
    fill(acme)
    backed_up(vault, acme)
    offsite.delete_bucket()
    outcome = backed_up(vault, acme)
    assert outcome.whole_at == ["primary"] and "NoSuchBucket" in outcome.troubles["offsite"]
    assert "create it or correct its name" in outcome.troubles["offsite"]
    offsite.make_bucket()
    assert "never prepared" in backed_up(vault, acme).troubles["offsite"]
    locations.prepare(offsite.store, vault.signer, "read me\n", made="2026-03-10", sample=True)
    assert backed_up(vault, acme).good
    restore(vault.only("offsite"), acme, tmp_path / "out")
    assert_restored(tmp_path / "out", acme)


def test_a_damaged_object_is_put_back_and_its_damaged_version_does_not_stay_for_ever(
    acme: Any, vault: Vault, offsite: Site, clock: Any, tmp_path: Path
) -> None:
    fill(acme)
    backed_up(vault, acme)
    key = next(name for name in offsite.objects() if "/blobs/" in name)
    right = offsite.body(key)
    offsite.client.put_object(Bucket=offsite.bucket, Key=key, Body=bytes(len(right)))
    clock.forward(days=31)
    outcome = backed_up(vault, acme)
    assert outcome.good and any("is damaged at offsite; it is put back" in note for note in outcome.notes)
    assert offsite.body(key) == right
    restore(vault.only("offsite"), acme, tmp_path / "out")
    assert_restored(tmp_path / "out", acme)
    name = key.removeprefix("backups/")
    assert [leftover.name for leftover in offsite.store.leftovers()] == [name, name]
    offsite.store.remove(name)
    assert not [version for version in offsite.versions() if version[0] == key]
