"""Passes: their share, what is out of reach, unknown or going, and who may change how a location is read (P4)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command

from audit import findings
from audit.models import Event, Stream
from audit.registry import SYSTEM_STREAM
from audit.roles import Role, ensure_roles
from backups import leases
from backups import vault as vaults
from backups.errors import BackupError
from backups.hot import removal, shipper
from backups.models import BackupSet, Blob, Copy, Damage, KeptSegment, Location, ServiceObject, UnknownObject, VerificationPass
from backups.nightly import back_up
from backups.stores.contract import StoreUnavailable
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from backups.verification import terms
from backups.verification.carrying_out import Wanted, anything_to_do, carry_out
from subscriptions.models import DataRecord
from tests.backups.conftest import Clock
from tests.backups.verification.test_every_kind import ALL, flip

pytestmark = pytest.mark.django_db(transaction=True)
TONIGHT = Wanted(workers=0)


@pytest.fixture
def stores() -> dict[str, MemoryStore]:
    return {name: MemoryStore(f"memory:{name}") for name in ("primary", "offsite")}


@pytest.fixture
def memory(make_vault: Callable[..., Vault], stores: dict[str, MemoryStore]) -> Vault:
    return make_vault(**stores)


def backed_up(vault: Vault, acme: Any, times: int = 1) -> Stream:
    stream = Stream.objects.get(pk=acme.pk)
    for number in range(times):
        DataRecord.objects.create(customer=acme, kind="part", reference=f"P-{number}", data={"Note": "x" * 500})
        back_up(vault, stream)
    return stream


def flip_in(store: MemoryStore, name: str) -> None:
    data = bytearray(store.objects[name])
    data[-1] ^= 1
    store.objects[name] = bytes(data)


@pytest.mark.slow
def test_within_the_period_everything_is_read_once_in_even_parts(memory: Vault, acme: Any, clock: Clock) -> None:
    backed_up(memory, acme, 12)
    place = memory.places[0].location
    there = Copy.objects.filter(location=place, state="present").exclude(blob__kind="aside").count()
    nights = []
    for _ in range(30):
        clock.forward(days=1)
        [turn, _] = carry_out(memory, TONIGHT)
        nights.append(turn.objects)
        assert turn.good and not carry_out(memory, TONIGHT)[0].objects  # the night's share is read once
    assert there <= sum(nights) <= there + len(nights) and max(nights) <= 8
    assert VerificationPass.objects.filter(location=place).count() == 30
    newest = VerificationPass.objects.filter(location=place).latest("night")
    assert newest.in_time == newest.stored_objects == there
    assert newest.oldest_at is not None and clock.now - newest.oldest_at <= timedelta(days=30)
    assert not anything_to_do(memory)


def test_a_limit_that_is_too_low_is_said_loudly(memory: Vault, acme: Any, clock: Clock) -> None:
    backed_up(memory, acme, 3)
    Location.objects.filter(name="primary").update(nightly_bytes=10)
    memory.places[0].location.refresh_from_db()
    clock.forward(days=1)
    primary, offsite = carry_out(memory, TONIGHT)
    assert "a round takes" in primary.behind and not primary.good and offsite.good
    Location.objects.filter(name="primary").update(nightly_bytes=None)
    memory.places[0].location.refresh_from_db()
    clock.forward(days=1)
    assert carry_out(memory, TONIGHT)[0].good and not findings.open_findings().exists()


def test_a_location_out_of_reach_has_neither_good_nor_damaged_objects(vault: Vault, acme: Any, folders: dict[str, Path]) -> None:
    stream = backed_up(vault, acme)
    lost = Blob.objects.filter(stream=stream, kind="blob").latest("pk").name
    flip(folders["primary"] / lost)
    away = folders["offsite"].with_name("unmounted")
    folders["offsite"].rename(away)
    folders["offsite"].mkdir()
    primary, offsite = carry_out(vault, ALL)
    assert offsite.trouble and not offsite.found and not offsite.finished
    assert primary.left == 1 and not primary.beyond and "out of reach" in primary.waits[0]
    assert not findings.open_findings().exists() and not BackupSet.objects.filter(damaged_at__isnull=False).exists()
    folders["offsite"].rmdir()
    away.rename(folders["offsite"])
    assert all(turn.good for turn in carry_out(vault, TONIGHT)) and Damage.objects.get().mended_from == "offsite"


def test_a_whole_folder_that_vanished_shows_the_same_night(vault: Vault, acme: Any, folders: dict[str, Path]) -> None:
    """Not within the period: every location is listed every night."""
    stream = backed_up(vault, acme, 2)
    shutil.rmtree(folders["offsite"] / "customers")
    primary, offsite = carry_out(vault, TONIGHT)
    gone = Blob.objects.filter(stream=stream).exclude(kind="key").count()
    assert (offsite.found, offsite.mended, offsite.left) == (gone, gone, 0) and not primary.found
    assert all(turn.good for turn in carry_out(vault, ALL))


def test_the_record_of_a_removal_that_was_cut_short_is_ours_when_we_signed_it(
    memory: Vault, stores: dict[str, MemoryStore], acme: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = backed_up(memory, acme)
    shipper.ship_once(memory)
    back_up(memory, stream)
    back_up(memory, Stream.objects.get(pk=SYSTEM_STREAM))
    with monkeypatch.context() as killed:
        killed.setattr(removal, "_remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            removal.remove_covered(memory, clock())
    [name] = [name for name in stores["primary"].objects if name.startswith("hot/removed/")]
    clock.forward(hours=1)  # the dead process's lease is over
    assert all(turn.good for turn in carry_out(memory, ALL)) and not findings.open_findings().exists()
    stores["offsite"].objects["hot/removed/000000000999.json"] = stores["offsite"].objects[name].replace(b"up_to", b"up-to")
    primary, offsite = carry_out(memory, ALL)
    assert (primary.unknown, offsite.unknown) == (0, 1)


def test_what_nobody_knows_is_told_once_and_never_removed(memory: Vault, stores: dict[str, MemoryStore], acme: Any, clock: Clock) -> None:
    backed_up(memory, acme)
    names = [
        "stranger",
        "customers/stray",
        f"customers/{acme.pk}/blobs/ab/strange",
        "hot/2026-01-01/000000000999-1.tar",
        "ended/nobody.json",
    ]
    for name in names:
        stores["offsite"].objects[name] = b"?"
    for _ in range(2):
        primary, offsite = carry_out(memory, ALL)
        assert (primary.unknown, offsite.unknown) == (0, len(names)) and not offsite.good
        assert sorted(UnknownObject.objects.values_list("name", flat=True)) == sorted(names)
        [finding] = findings.open_findings()
        assert finding.kind == "objects-unknown" and "stranger" in finding.text
        clock.forward(hours=1)
    assert all(name in stores["offsite"].objects for name in names)
    for name in names:
        del stores["offsite"].objects[name]
    assert all(turn.good for turn in carry_out(memory, ALL)) and not findings.open_findings().exists()


def test_a_customer_at_work_is_mended_at_the_next_turn(memory: Vault, stores: dict[str, MemoryStore], acme: Any) -> None:
    stream = backed_up(memory, acme)
    flip_in(stores["primary"], Blob.objects.filter(stream=stream, kind="body").get().name)
    with leases.holding(leases.lease_name(stream.pk), doing="backup", clock=memory.clock):
        primary, _ = carry_out(memory, ALL)
        assert primary.left == 1 and any("at work" in why for why in primary.waits) and anything_to_do(memory)
    assert carry_out(memory, TONIGHT)[0].mended == 1


def test_what_a_backup_finds_is_recorded_and_set_aside_alike(
    memory: Vault, stores: dict[str, MemoryStore], acme: Any, clock: Clock
) -> None:
    """Two passes of one rule: what a set reuses is read again by the location's own period."""
    stream = backed_up(memory, acme)
    DataRecord.objects.create(customer=acme, kind="other", reference="new")
    blob = Blob.objects.filter(stream=stream, kind="key").latest("pk")
    flip_in(stores["offsite"], blob.name)
    clock.forward(days=29)
    assert back_up(memory, stream).good and not Damage.objects.exists()
    clock.forward(days=2)
    assert back_up(memory, stream).good
    damage = Damage.objects.get()
    assert (damage.what, damage.mended_from) == ("altered", "primary") and damage.aside in stores["offsite"].objects
    assert all(turn.good for turn in carry_out(memory, ALL))


def test_what_retention_took_meanwhile_is_no_damage(memory: Vault, stores: dict[str, MemoryStore], acme: Any) -> None:
    stream = backed_up(memory, acme)
    body = Blob.objects.filter(stream=stream, kind="body").get()
    for store in stores.values():
        flip_in(store, body.name)
    assert carry_out(memory, ALL)[0].beyond == 1 and findings.open_findings().exists()
    Blob.objects.filter(pk=body.pk).update(state="condemned")
    turns = carry_out(memory, ALL)
    assert not any(turn.left for turn in turns) and not findings.open_findings().exists()


def test_what_was_kept_of_segments_and_the_record_of_removal(memory: Vault, stores: dict[str, MemoryStore], acme: Any, acme2: Any) -> None:
    """A customer without a set for two days keeps its sections; both objects are read, mended, and named when they are nowhere whole."""
    hot = replace(memory, clock=vaults.clock)
    for customer in (acme, acme2):
        DataRecord.objects.create(customer=customer, kind="part", reference="P-1")
    assert shipper.ship_once(hot) == []
    for stream in Stream.objects.exclude(pk=acme2.pk):
        assert back_up(hot, stream).good
    removal.remove_covered(hot, vaults.clock() + timedelta(days=3))
    kept = KeptSegment.objects.get()
    assert all(turn.good for turn in carry_out(hot, ALL))
    record = ServiceObject.objects.filter(kind="removed", location__name="offsite").get()
    before = dict(stores["offsite"].objects)
    flip_in(stores["offsite"], kept.name)
    del stores["offsite"].objects[record.name]
    assert carry_out(hot, ALL)[1].mended == 2
    assert {name: data for name, data in stores["offsite"].objects.items() if "damaged/" not in name} == before
    for store in stores.values():
        flip_in(store, kept.name)
    assert all(turn.beyond == 1 for turn in carry_out(hot, ALL)) and kept.name in findings.open_findings().get().text


def test_a_disk_that_cannot_read_one_sector_is_mended(memory: Vault, stores: dict[str, MemoryStore], acme: Any) -> None:
    stream = backed_up(memory, acme)
    name = Blob.objects.filter(stream=stream, kind="body").get().name
    bad = [True]

    def fail(operation: str, asked: str) -> None:
        if operation == "put_back":
            bad.clear()
        if operation == "get" and asked == name and bad:
            raise StoreUnavailable("input/output error")

    stores["offsite"].fail = fail
    _, offsite = carry_out(memory, ALL)
    assert (offsite.found, offsite.mended, offsite.left) == (1, 1, 0)
    assert Damage.objects.get().what == "unreadable"


def test_who_may_change_how_a_location_is_read(memory: Vault, acme: Any) -> None:
    ensure_roles()
    people = {name: User.objects.create_user(name, is_staff=True) for name in ("olga", "otto")}
    people["olga"].groups.add(Group.objects.get(name=Role.BACKUP_OPERATOR))
    people["otto"].groups.add(Group.objects.get(name=Role.AUDITOR))
    location = memory.places[0].location
    wanted: dict[str, Any] = {"recheck_days": 14, "nightly_bytes": None, "read_price": Decimal("0.0900")}
    for by, reason, days in (("otto", "why", 14), ("olga", " ", 14), ("olga", "why", 0)):
        with pytest.raises(BackupError):
            terms.change(location, **{**wanted, "recheck_days": days}, by=people[by], reason=reason)
    changed = terms.change(location, **wanted, by=people["olga"], reason="a cheaper store")
    assert (changed.recheck_days, changed.terms_by, changed.terms_reason) == (14, "olga", "a cheaper store")
    event = Event.objects.get(event="location:changed")
    assert event.facts == {"days": 14, "location": "primary", "price": "0.0900"} and event.actor == "olga"


def test_the_command(vault: Vault, acme: Any, folders: dict[str, Path], settings: Any, key_folder: Path, capsys: Any) -> None:
    settings.L2L_LOCATIONS = " ".join(f"{name}=file://{folder}" for name, folder in folders.items())
    settings.L2L_OFFSITE, settings.L2L_KEYS = ["offsite"], key_folder
    stream = backed_up(replace(vault, clock=vaults.clock), acme)
    name = Blob.objects.filter(stream=stream, kind="envelope").get().name
    flip(folders["offsite"] / name)
    with pytest.raises(CommandError, match="--mend"):
        call_command("verify", "acme", "--json")
    told = json.loads(capsys.readouterr().out)
    assert [(one["location"], one["object"], one["wrong"]) for one in told["damaged"]] == [("offsite", name, "altered")]
    call_command("verify", "acme", "--mend", "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["damaged"] == [] and [one["mended"] for one in told["locations"]] == [0, 1]
    call_command("verify", "--all", "--location", "offsite")
    assert "0 found wrong" in capsys.readouterr().out
