"""Segments leave once protected, proved sets hold what they say; a customer whose sets fail keeps its own and holds nobody else up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.models import Stream
from audit.signing import verify
from backups import vault as vaults
from backups.choosing import At
from backups.coverage import covered
from backups.errors import Gap, NoLocation
from backups.hot import removal, segments, shipper
from backups.hot.removal import PATIENCE, Shipped, decide
from backups.models import BackupSet, Blob, HotFile, HotState, KeptSegment, Segment
from backups.nightly import back_up
from backups.restore import restore
from backups.stores.contract import StoreUnavailable
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import DataRecord, UploadedContent

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SECTIONS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 20)), max_size=3)


@given(
    st.lists(st.tuples(SECTIONS, st.booleans(), st.integers(0, 4)), max_size=12),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 20)),
)
def test_nothing_that_a_customer_needs_goes_unless_it_is_kept(given_segments, covered):
    shipped = [
        Shipped(number, NOW - timedelta(days=age), tuple(sections), everywhere)
        for number, (sections, everywhere, age) in enumerate(given_segments, start=1)
    ]
    decision = decide(shipped, covered, NOW)
    for one in shipped:
        if one.number <= decision.up_to:
            assert one.everywhere
            needed = {stream for stream, last in one.sections if covered.get(stream, 0) < last}
            assert set(decision.kept.get(one.number, ())) == needed
            assert not needed or NOW - one.made_at >= PATIENCE


@pytest.fixture
def stores() -> dict[str, MemoryStore]:
    return {name: MemoryStore(f"memory:{name}") for name in ("primary", "offsite")}


@pytest.fixture
def hot(transactional_db: None, make_vault: Callable[..., Vault], stores: dict[str, MemoryStore]) -> Vault:
    return replace(make_vault(**stores), clock=vaults.clock)


def backed_up(vault: Vault, *customers: Any) -> None:
    """A set of each customer and of the system stream."""
    for stream in Stream.objects.filter(pk__in=[customer.pk for customer in customers]) | Stream.objects.filter(name="system"):
        assert back_up(vault, stream).good


def names(store: MemoryStore, folder: str = "hot/2") -> list[str]:
    return [entry.name for entry in store.list("hot/") if entry.name.startswith(folder)]


def has_changes_of(vault: Vault, store: MemoryStore, customer: Any) -> bool:
    return any(segments.read(store.get(name), vault.fingerprint)[0].of(str(customer.pk)) for name in names(store))


def test_what_sets_hold_leaves_every_location(hot, acme, stores):
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    shipper.ship_once(hot)
    removal.remove_covered(hot, hot.clock())
    assert has_changes_of(hot, stores["offsite"], acme)
    backed_up(hot, acme)
    done = removal.remove_covered(hot, hot.clock())
    assert done.segments > 0
    for store in stores.values():
        assert names(store) == []
        [record] = names(store, "hot/removed/")
        body = verify(json.loads(store.get(record)), hot.fingerprint)
        assert (body["up_to"], body["kept"]) == (done.up_to, {})
    assert not Segment.objects.filter(number__lte=done.up_to).exists()
    DataRecord.objects.create(customer=acme, kind="part", reference="P-2")
    shipper.ship_once(hot)
    assert has_changes_of(hot, stores["offsite"], acme)
    assert min(segments.number_and_epoch(name) or (0, 0) for name in names(stores["offsite"])) > (done.up_to, 10**6)


def test_a_customer_whose_sets_fail_keeps_its_sections_and_holds_nobody_up(hot, acme, acme2, stores):
    for customer in (acme, acme2):
        DataRecord.objects.create(customer=customer, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)
    removal.remove_covered(hot, hot.clock())
    assert has_changes_of(hot, stores["offsite"], acme2)
    later = hot.clock() + PATIENCE
    done = removal.remove_covered(hot, later)
    assert done.kept == 1
    assert done.segments > 0
    for store in stores.values():
        [kept] = names(store, "hot/kept/")
        index, sealed = segments.read(store.get(kept), hot.fingerprint)
        assert list(sealed) == [str(acme2.pk)]
        [record] = names(store, "hot/removed/")
        assert verify(json.loads(store.get(record)), hot.fingerprint)["kept"] == {str(acme2.pk): [index.segment]}
    backed_up(hot, acme2)
    removal.remove_covered(hot, later)
    assert not KeptSegment.objects.exists()
    assert [names(store, "hot/kept/") for store in stores.values()] == [[], []]


def test_nothing_leaves_while_a_location_does_not_answer(hot, acme, stores):
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)

    def down(operation: str, name: str) -> None:
        raise StoreUnavailable("the line is down")

    stores["offsite"].fail = down
    with pytest.raises(NoLocation, match="must answer"):
        removal.remove_covered(hot, hot.clock())
    assert names(stores["primary"])
    assert HotState.objects.get().removed_to == 0


def test_a_set_whose_proof_is_broken_covers_nothing(hot, acme, stores):
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)
    BackupSet.objects.filter(stream=acme.pk).update(proof=BackupSet.Proof.BROKEN)
    removal.remove_covered(hot, hot.clock())
    assert has_changes_of(hot, stores["offsite"], acme)


def test_the_files_of_a_removed_segment_are_the_sets_from_then_on(hot, acme):
    from django.core.files.base import ContentFile

    UploadedContent.objects.create(customer=acme, name="plan.txt", file=ContentFile(b"plan", name="plan.txt"))
    shipper.ship_once(hot)
    backed_up(hot, acme)
    assert Blob.objects.filter(hot=True).exists()
    removal.remove_covered(hot, hot.clock())
    assert not Blob.objects.filter(hot=True).exists()
    assert not HotFile.objects.exists()
    outcome = back_up(hot, Stream.objects.get(pk=acme.pk))
    assert outcome.good
    assert outcome.notes == []


def state_now(vault: Vault, customer: Any, folder: Path) -> list[str]:
    """The references of the customer's records at the newest second that is covered."""
    report = restore(vault, customer, folder, at=At(None))
    rows = (folder / "rows" / "l2l_subscriptions.datarecord.ndjson").read_text().splitlines()
    assert report.good
    shutil.rmtree(folder)
    return sorted(json.loads(row)["reference"] for row in rows)


def test_any_second_is_restored_across_removed_segments(hot, acme, tmp_path):
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)
    shipper.ship_once(hot)  # an idle mark behind the set, which goes with the rest
    removal.remove_covered(hot, hot.clock())
    assert state_now(hot, acme, tmp_path / "idle") == ["P-1"]
    DataRecord.objects.create(customer=acme, kind="part", reference="P-2")
    shipper.ship_once(hot)
    assert state_now(hot, acme, tmp_path / "later") == ["P-1", "P-2"]
    assert covered(hot, acme.pk).gaps == ()


def test_what_was_kept_for_a_customer_is_restored(hot, acme, acme2, tmp_path):
    backed_up(hot, acme, acme2)
    for customer in (acme, acme2):
        DataRecord.objects.create(customer=customer, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)
    assert removal.remove_covered(hot, hot.clock() + PATIENCE).kept == 1
    assert state_now(hot, acme2, tmp_path / "kept") == ["P-1"]
    [kept] = KeptSegment.objects.all()
    for place in hot.places:
        place.store.remove(kept.name)
    with pytest.raises(Gap, match="missing"):
        state_now(hot, acme2, tmp_path / "lost")


def test_an_older_set_is_no_base_for_what_was_removed_behind_it(hot, acme, tmp_path):
    """The set that held it is lost everywhere: that is said, and no shorter history is given."""
    backed_up(hot, acme)
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    shipper.ship_once(hot)
    backed_up(hot, acme)
    removal.remove_covered(hot, hot.clock())
    newest = BackupSet.objects.filter(stream=acme.pk).first()
    for place in hot.places:
        place.store.remove(f"customers/{acme.pk}/sets/{newest.pk}.json")
    with pytest.raises(Gap, match="a newer set held"):
        state_now(hot, acme, tmp_path / "lost")
