"""One byte flipped, one object cut, one deleted, of every kind: found and mended at one location, named at both (P4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from audit import findings
from audit.models import Event, Finding, Stream
from backups import idset
from backups import vault as vaults
from backups.choosing import At, opened
from backups.errors import NowhereWhole
from backups.hot import shipper, timelines
from backups.models import BackupSet, Blob, Damage, Segment, Timeline, UnknownObject
from backups.nightly import back_up
from backups.vault import Vault
from backups.verification import setting_aside
from backups.verification.carrying_out import Wanted, carry_out
from subscriptions.models import DataRecord, UploadedContent

pytestmark = pytest.mark.django_db(transaction=True)
ALL = Wanted(everything=True, workers=0)
KINDS = ("blob", "body", "envelope", "key", "segment", "format", "readme", "timeline", "ended")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


def cut(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-3])


def delete(path: Path) -> None:
    path.unlink()


HARMS: dict[str, Callable[[Path], None]] = {"flipped": flip, "cut": cut, "deleted": delete}


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "damaged" not in path.parts and not path.name.startswith(".")
    }


@pytest.fixture
def hot(vault: Vault) -> Vault:
    """What is shipped is dated by the database's clock."""
    return replace(vault, clock=vaults.clock)


def filled(vault: Vault, acme: Any) -> None:
    """A set, a segment after it, a second timeline's document and a destroyed customer's marker, at both places; all learned."""
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1", data={"Note": "first"})
    UploadedContent.objects.create(customer=acme, name="plan", file=ContentFile(b"x" * 3000, name="plan.txt"))
    assert shipper.ship_once(vault) == []
    assert back_up(vault, Stream.objects.get(pk=acme.pk)).good
    DataRecord.objects.create(customer=acme, kind="part", reference="P-2")
    assert shipper.ship_once(vault) == []
    document = json.dumps(vault.signer.sign({"format": 1, "kind": "ended"})).encode()
    for place in vault.places:
        place.store.put("ended/11111111-1111-1111-1111-111111111111.json", document)
    timeline = Timeline.objects.create(number=1, started_at=vault.clock(), started_by="ada", reason="a test", first_segment=1)
    timelines._write(vault, vault.places, timeline)
    assert all(turn.good for turn in carry_out(vault, ALL))


def one_of(kind: str, acme: Any) -> str:
    if kind in ("blob", "body", "envelope", "key"):
        return Blob.objects.filter(stream=acme.pk, kind=kind).earliest("pk").name
    return {
        "segment": Segment.objects.latest("number").name,
        "format": "format-v1.json",
        "readme": "README-v1.txt",
        "timeline": "hot/timelines/1.json",
        "ended": "ended/11111111-1111-1111-1111-111111111111.json",
    }[kind]


def test_at_one_location_each_is_found_and_mended(hot: Vault, acme: Any, folders: dict[str, Path]) -> None:
    filled(hot, acme)
    for name, harm in HARMS.items():
        for at in ("offsite", "primary"):
            before = everything_in(folders[at])
            harmed = {kind: one_of(kind, acme) for kind in KINDS}
            for object_name in harmed.values():
                harm(folders[at] / object_name)
            only_found = carry_out(hot, replace(ALL, location=at, mending=False)) if "format-v1.json" not in harmed.values() else None
            assert only_found is None or not only_found[0].good
            turns = {turn.location: turn for turn in carry_out(hot, ALL)}
            assert (turns[at].mended, turns[at].left, turns[at].beyond) == (len(KINDS), 0, 0), (name, at, turns)
            assert everything_in(folders[at]) == before
            assert all(turn.good and not turn.found for turn in carry_out(hot, ALL))
    other = {"primary": "offsite", "offsite": "primary"}
    told = Damage.objects.select_related("location")
    assert {damage.mended_from for damage in told if damage.kind != "location's format file"} <= {*other, "this database"}
    aside = Damage.objects.exclude(what="missing")
    assert aside.count() == 4 * len(KINDS) and not aside.filter(aside="").exists()
    for damage in aside.select_related("location"):
        assert (folders[damage.location.name] / damage.aside).is_file()
    assert not UnknownObject.objects.exists() and not Finding.objects.exists()


def test_what_stood_aside_leaves_after_its_time_and_breaks_nothing_before(hot: Vault, acme: Any, folders: dict[str, Path]) -> None:
    filled(hot, acme)
    for kind in ("blob", "segment"):
        flip(folders["offsite"] / one_of(kind, acme))
    carry_out(hot, ALL)
    DataRecord.objects.create(customer=acme, kind="part", reference="P-3")
    outcome = back_up(hot, Stream.objects.get(pk=acme.pk))
    assert outcome.good and outcome.notes == []
    assert len(list(folders["offsite"].rglob("damaged/*"))) == 2
    assert setting_aside.expire(hot, hot.places, hot.clock()) == (0, [])
    assert setting_aside.expire(hot, hot.places, hot.clock() + timedelta(days=31)) == (2, [])
    assert list(folders["offsite"].rglob("damaged/*")) == []
    assert all(turn.good for turn in carry_out(hot, ALL))


def test_at_both_it_is_named_and_the_next_set_stores_it_anew(hot: Vault, acme: Any, folders: dict[str, Path]) -> None:
    filled(hot, acme)
    stream = Stream.objects.get(pk=acme.pk)
    first = BackupSet.objects.get(stream=stream)
    kept = {name: everything_in(folder) for name, folder in folders.items()}
    blobs = list(Blob.objects.filter(stream=stream, kind="blob").order_by("pk"))
    lost = next(blob for blob in blobs if blob.pk in ids_of(first) and not blob.hot)
    for folder in folders.values():
        flip(folder / lost.name)
    turns = carry_out(hot, ALL)
    assert [(turn.left, turn.beyond) for turn in turns] == [(1, 1), (1, 1)]
    first.refresh_from_db()
    assert first.damaged_at is not None
    [finding] = findings.open_findings()
    assert lost.name in finding.text and str(first.pk)[:8] in finding.text and finding.customer == acme.pk
    assert Event.objects.filter(event="object:lost").count() == 2
    second = back_up(hot, stream)
    assert second.good and lost.pk not in ids_of(second.backup_set)
    with opened(hot, stream.pk) as (found, reader):
        assert found.id == str(second.backup_set.pk) and all(list(reader.lines(part)) is not None for part in reader.parts)
    with pytest.raises(NowhereWhole), opened(hot, stream.pk, set_id=str(first.pk)) as (_, reader):
        assert [list(reader.lines(part)) for part in reader.parts]
    (folders["offsite"] / lost.name).write_bytes(kept["offsite"][lost.name])
    turns = carry_out(hot, ALL)
    assert [turn.left for turn in turns] == [0, 0]
    first.refresh_from_db()
    assert first.damaged_at is None and not findings.open_findings().exists()
    assert (folders["primary"] / lost.name).read_bytes() == kept["primary"][lost.name]
    assert Event.objects.filter(event="set:mended").count() == 1


def ids_of(backup_set: BackupSet) -> set[int]:
    return idset.unpacked(bytes(backup_set.blob_ids))


def test_of_the_other_kinds_at_both(hot: Vault, acme: Any, folders: dict[str, Path]) -> None:
    filled(hot, acme)
    stream = Stream.objects.get(pk=acme.pk)
    for kind in ("body", "envelope", "key"):
        hit = list(BackupSet.objects.filter(stream=stream, state="made", damaged_at=None))
        lost = Blob.objects.filter(stream=stream, kind=kind).latest("pk")
        needing = {one.pk for one in hit if kind == "key" or one.pk == lost.made_by_id}
        for folder, harm in zip(folders.values(), (cut, delete), strict=True):
            harm(folder / lost.name)
        assert all(turn.beyond for turn in carry_out(hot, ALL))
        assert {one.pk for one in BackupSet.objects.filter(pk__in=[one.pk for one in hit]) if one.damaged_at} == needing
        [finding] = findings.open_findings()
        assert lost.name in finding.text and all(str(pk)[:8] in finding.text for pk in needing)
        DataRecord.objects.create(customer=acme, kind="part", reference=f"after {kind}")
        anew = back_up(hot, stream)
        assert anew.good and BackupSet.objects.get(pk=anew.backup_set.pk).damaged_at is None
        with opened(hot, stream.pk) as (found, reader):
            assert found.id == str(anew.backup_set.pk) and [list(reader.lines(part)) for part in reader.parts]
    before = {name: everything_in(folder) for name, folder in folders.items()}
    for name in ("format-v1.json", "README-v1.txt", "hot/timelines/1.json", "ended/11111111-1111-1111-1111-111111111111.json"):
        for folder, harm in zip(folders.values(), (flip, cut), strict=True):
            harm(folder / name)
    carry_out(hot, ALL)
    assert {name: everything_in(folder) for name, folder in folders.items()} == before


def test_a_segment_lost_everywhere_is_made_again_from_history(hot: Vault, acme: Any, folders: dict[str, Path]) -> None:
    filled(hot, acme)
    lost = Segment.objects.latest("number")
    for folder in folders.values():
        flip(folder / lost.name)
    assert [turn.beyond for turn in carry_out(hot, ALL)] == [1, 1]
    [finding] = findings.open_findings()
    assert f"segment {lost.number}" in finding.text
    assert shipper.ship_once(hot) == []
    turns = carry_out(hot, ALL)
    assert all(turn.good for turn in turns) and not findings.open_findings().exists()
    again = Segment.objects.get(pk=lost.number)
    assert again.name != lost.name and again.sections == lost.sections
    with opened(hot, acme.pk, at=At(None)) as (_, reader):
        rows = b"".join(reader.pieces(reader.part("rows", "l2l_subscriptions.datarecord")))
    assert b"P-2" in rows
