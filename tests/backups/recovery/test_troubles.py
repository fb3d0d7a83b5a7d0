"""What cannot be brought back is named and stops nothing else; what only a location knows is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

import audit
from audit.errors import Frozen
from audit.models import Finding, Stream
from audit.registry import SYSTEM_STREAM
from backups import keyfiles
from backups.errors import KeysMissing, NoLocation
from backups.hot import removal, shipper, timelines
from backups.hot.lanes import WentBack
from backups.hot.segments import number_and_epoch
from backups.hot.timelines import READ_ONLY, Stopped
from backups.models import BackupSet, Blob, HotState, RecoveredStream, Recovery, Segment
from backups.nightly import back_up
from backups.recovery import carrying_out, state
from backups.recovery.keys import AnyMaster
from backups.recovery.state import RecoveryUnderWay
from backups.recovery_kit import read_kit
from backups.stores.contract import StoreRefused
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, UploadedContent
from tests.backups.recovery.conftest import Recovered, content_of, forged, in_a_set, shown, vault_of
from tests.backups.test_back_up import backed_up

pytestmark = pytest.mark.django_db(transaction=True)
Burn = Callable[[], None]


def record(customer: Any, reference: str) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference, data={"n": reference})


def shipped(vault: Vault) -> int:
    """Ships what waits; the newest segment."""
    assert shipper.ship_once(vault) == []
    return HotState.objects.get(pk=1).last_segment


@pytest.fixture
def two(acme: Any, acme2: Any, vault: Vault) -> tuple[Any, Any]:
    """Two customers with a record each, shipped and in a set."""
    for customer in (acme, acme2):
        record(customer, "first")
    shipped(vault)
    in_a_set(vault, acme, acme2)
    return acme, acme2


def segment_files(folder: Path) -> dict[int, Path]:
    names = {str(path.relative_to(folder)): path for path in folder.glob("hot/*/*.tar")}
    return {found[0]: path for name, path in names.items() if (found := number_and_epoch(name))}


def test_a_destroyed_customer_stays_destroyed(two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]):
    acme, acme2 = two
    marker = folders["offsite"] / "ended" / f"{acme.pk}.json"
    marker.parent.mkdir()
    marker.write_text(json.dumps(vault.signer.sign({"format": 1, "kind": "ended", "customer": str(acme.pk)})))
    before = content_of(acme2.pk)
    burn()
    report = recovered()
    assert shown(report) == {"acme": "ended", "acme2": "back", "system": "back", "stopped": ""}
    assert report.whole
    assert not DataRecord.objects.filter(customer=acme).exists()
    assert Customer.objects.filter(pk=acme.pk).exists()  # the evidence of it stays
    assert Stream.objects.get(pk=acme.pk).frozen_reason == state.ENDED
    assert content_of(acme2.pk) == before


def test_a_marker_by_another_signer_destroys_nobody(two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]):
    acme, _ = two
    marker = folders["offsite"] / "ended" / f"{acme.pk}.json"
    marker.parent.mkdir()
    marker.write_text(json.dumps(vault.signer.sign({"format": 1, "kind": "ended", "customer": str(acme.pk)})))
    forged(marker)
    burn()
    report = recovered()
    assert shown(report) == {"acme": "not back", "acme2": "back", "system": "back", "stopped": ""}
    marker.unlink()
    assert shown(recovered())["acme"] == "back"


def test_one_customer_with_a_damaged_blob_stops_no_other(
    two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path], clock: Any
):
    acme, acme2 = two
    old = content_of(acme.pk)
    record(acme, "second")
    shipped(vault)
    record(acme2, "second")
    shipped(vault)
    clock.forward(hours=1)
    newest, *_ = in_a_set(vault, acme, acme2)
    assert removal.remove_covered(vault, vault.clock()).segments  # the newest set is the only way
    before = content_of(acme2.pk)
    for blob in newest.objects_made.filter(kind="blob"):
        (folders["offsite"] / blob.name).write_bytes(b"damaged")
    burn()
    report = recovered("offsite")
    assert shown(report) == {"acme": "not back", "acme2": "back", "system": "back", "stopped": ""}
    assert content_of(acme2.pk) == before
    assert not report.whole
    row = RecoveredStream.objects.get(pk=acme.pk)
    assert "nowhere whole" in row.trouble or "damaged" in row.trouble or "missing" in row.trouble, row.trouble
    with pytest.raises(Frozen, match="not recovered whole"), audit.acting("ada"):
        record(Customer.objects.get(pk=acme.pk), "third")
    with pytest.raises(RecoveryUnderWay):  # a set of it would be the newest, and empty
        back_up(vault_of(vault, "offsite"), Stream.objects.get(pk=acme.pk))
    assert Finding.objects.filter(kind="not-recovered", closed_at=None, customer=acme.pk).exists()
    assert content_of(acme.pk)["rows/l2l_subscriptions.datarecord"] == []
    # What is left is taken when a person says so.
    again = recovered("offsite", accept=("acme",))
    assert shown(again)["acme"] == "back"
    assert content_of(acme.pk)["rows/l2l_subscriptions.datarecord"] == old["rows/l2l_subscriptions.datarecord"]
    assert RecoveredStream.objects.get(pk=acme.pk).lost
    assert Recovery.objects.get().ended_at is not None


def test_a_gap_makes_the_service_read_only_until_the_next_timeline(
    two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]
):
    acme, acme2 = two
    record(acme, "before the gap")
    before_gap = shipped(vault)
    record(acme, "in the gap")
    lost = shipped(vault)
    record(acme2, "behind the gap")
    last = shipped(vault)
    segment_files(folders["offsite"])[lost].unlink()
    burn()

    report = recovered()

    assert report.stopped
    assert set(DataRecord.objects.filter(customer=acme).values_list("reference", flat=True)) == {"first", "before the gap"}
    assert {one.pk: one.behind for one in report.streams}[acme.pk]
    assert Stream.objects.get(pk=acme2.pk).frozen_reason == READ_ONLY
    assert Stream.objects.get(pk=SYSTEM_STREAM).frozen_at is None  # people decide
    here = vault_of(vault, "offsite")
    with pytest.raises(Frozen), audit.acting("ada"):
        record(Customer.objects.get(pk=acme2.pk), "refused")
    with pytest.raises(Stopped):
        timelines.refuse_stopped()
    assert before_gap <= HotState.objects.get(pk=1).last_segment < last
    listed = {path: path.read_bytes() for path in folders["offsite"].rglob("*.tar")}

    with audit.acting("olga", reason="given up"):
        timeline = timelines.begin(here, by="olga", reason="given up")
        assert timeline.first_segment > last
        assert not Stream.objects.exclude(frozen_at=None).exists()
        record(Customer.objects.get(pk=acme.pk), "on the new line")
    assert shipped(here) >= timeline.first_segment
    assert {path: path.read_bytes() for path in listed} == listed
    made = backed_up(here, Customer.objects.get(pk=acme.pk)).backup_set
    assert made.proof == "proved", made.proof_text


def test_a_location_that_comes_back_with_more_stops_the_service(
    two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]
):
    """The offsite location had not got the last changes when the machine burned; the primary one had."""
    acme, _ = two
    primary_alone = replace(vault, places=vault.places[:1])
    record(acme, "at the primary location alone")
    assert shipper.ship_once(primary_alone) == []
    burn()
    report = recovered("offsite")
    assert not report.stopped
    assert set(DataRecord.objects.filter(customer=acme).values_list("reference", flat=True)) == {"first"}
    from backups import locations

    both = [locations.Named(place.name, place.store.url, place.name != "primary") for place in vault.places]
    rows = {row.name: row for row in locations.sync_locations(both)}
    here = replace(vault, places=tuple(replace(place, location=rows[place.name]) for place in vault.places))
    shipper.ship_once(vault_of(here, "offsite"))  # numbers have gone on since
    with audit.acting("shipper"), pytest.raises(WentBack, match="primary holds segment"):
        shipper.ship_once(here)
    assert "primary holds segment" in HotState.objects.get(pk=1).stopped
    assert Stream.objects.get(pk=acme.pk).frozen_reason == READ_ONLY


def test_another_signer_is_refused(two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]):
    forged(folders["offsite"] / "format-v1.json")
    burn()
    with pytest.raises(NoLocation, match="another installation"):
        recovered()
    assert not Recovery.objects.exists()


def test_sets_by_another_signer_count_for_nothing(two: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path]):
    acme, _ = two
    before = content_of(acme.pk)
    foreign = in_a_set(vault, acme)[0]
    forged(folders["offsite"] / f"customers/{acme.pk}/sets/{foreign.pk}.json")
    burn()
    recovered()
    assert content_of(acme.pk) == before
    assert not BackupSet.objects.filter(pk=foreign.pk).exists()


def test_a_sample_and_a_real_home_are_kept_apart(vault: Vault):
    carrying_out.refuse_sample(vault.places[0], sample=True)
    with pytest.raises(StoreRefused, match="holds a sample"):
        carrying_out.refuse_sample(vault.places[0], sample=False)


def test_the_escrow_key_alone_opens_everything(two: Any, vault: Vault, burn: Burn, recovered: Recovered, key_folder: Path):
    acme, _ = two
    before = content_of(acme.pk)
    kit = read_kit(key_folder / keyfiles.KIT)
    other = type(kit.opens[0]).generate()
    escrow_alone = AnyMaster(other, vault.keys.escrow, opens=(kit.opens[1],))
    nothing = AnyMaster(other, vault.keys.escrow, opens=(other,))
    burn()
    places = carrying_out.ordered(replace(vault, places=vault_of_rows(vault)), "offsite")
    with pytest.raises(KeysMissing, match="master keys"):
        carrying_out.recover(replace(places, keys=nothing), "offsite")
    report = carrying_out.recover(replace(places, keys=escrow_alone), "offsite")
    assert report.whole
    assert content_of(acme.pk) == before


def vault_of_rows(vault: Vault) -> tuple[Any, ...]:
    from backups import locations

    rows = locations.sync_locations([locations.Named("offsite", vault.places[1].store.url, True)])
    return (replace(vault.places[1], location=rows[0]),)


def test_segments_are_known_again(two: Any, vault: Vault, burn: Burn, recovered: Recovered):
    before = list(Segment.objects.order_by("number").values_list("number", "name", "sha256", "size", "changes", "sections"))
    burn()
    recovered()
    assert list(Segment.objects.order_by("number").values_list("number", "name", "sha256", "size", "changes", "sections")) == before


def test_files_that_are_nowhere_whole_are_left_out_when_somebody_accepts_it(
    acme: Any, vault: Vault, burn: Burn, recovered: Recovered, folders: dict[str, Path], uploads: Path
):
    """The file's blob was stored by the shipper, and is not that of the rows."""
    record(acme, "first")
    for name in ("a.txt", "b.txt"):
        UploadedContent.objects.create(customer=acme, name=name, file=ContentFile(name.encode() * 100, name="x"))
        shipped(vault)
    in_a_set(vault, acme)
    broken = Blob.objects.filter(stream=acme.pk, hot=True).order_by("-pk")[0]
    (folders["offsite"] / broken.name).write_bytes(b"damaged")
    before = content_of(acme.pk)
    burn()
    assert shown(recovered())["acme"] == "not back"
    report = recovered(accept=("acme",))
    assert shown(report)["acme"] == "back", [one.trouble for one in report.streams]
    assert RecoveredStream.objects.get(pk=acme.pk).lost == ["The bytes of 1 file are damaged at every location"]
    assert content_of(acme.pk) == before
    assert [path.read_bytes() for path in uploads.rglob("*") if path.is_file()] == [b"a.txt" * 100]
