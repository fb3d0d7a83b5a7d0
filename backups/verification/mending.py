"""One stream's damaged objects are put right, under its lease (P4).

What is wrong is first owed again, so that nobody takes it as present; then it is put back as anything owed is (`catching_up.py`): from the
first location that has it whole, the wrong bytes set aside before, read back, an envelope only after all that it names. What no location
has whole while every one could say so is beyond mending.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from backups import catalogue, catching_up, leases
from backups.catching_up import Shelves
from backups.hot import timelines
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import Blob, Copy, Damage, ServiceObject
from backups.stores.contract import StoreError
from backups.vault import Vault
from backups.verification import damages
from backups.verification.reading import Expected, OutOfReach, judge


@dataclass(slots=True)
class Mended:
    """How many were put right; `beyond` no location has whole; `waits` says what else could not be mended yet, and why."""

    objects: int = 0
    beyond: int = 0
    waits: list[str] = field(default_factory=list)


def mend(vault: Vault, places: Sequence[Place], stream: uuid.UUID) -> Mended:
    """Stands inside `audit.acting(...)`. Raises `Busy`, `LeaseLost`, and `Stopped` while a location knows more than the database."""
    timelines.refuse_stopped()
    with leases.holding(leases.lease_name(stream), doing="mend", clock=vault.clock) as lease:
        done = _mend(vault, places, stream, lease)
        with fenced(lease):
            damages.tell_of_stream(stream, vault.clock())
    return done


def _mend(vault: Vault, places: Sequence[Place], stream: uuid.UUID, lease: Held) -> Mended:
    before = _open(vault, places, stream, lease)
    if not before:
        return Mended()
    _owe(vault, places, before, lease)
    shelves = catching_up.look(places, stream)
    catching_up.catch_up(vault, shelves, stream, lease)
    still = [one for one in _of(stream) if one.pk in before]
    done = Mended(objects=len(before) - len(still))
    for blob in {one.blob_id: one.blob for one in still if one.blob is not None}.values():
        _judge_lost(vault, places, shelves, blob, lease, done)
    return done


def _of(stream: uuid.UUID) -> list[Damage]:
    return list(Damage.objects.open().filter(stream=stream, blob__isnull=False).select_related("blob", "location"))


def _open(vault: Vault, places: Sequence[Place], stream: uuid.UUID, lease: Held) -> dict[int, Damage]:
    """What is still to be mended; what retention condemned or took meanwhile is no damage, and nothing of an ended customer is stored."""
    found = Damage.objects.open().filter(stream=stream, segment_copy=None, service_object=None)
    found = found.exclude(kind__in=ServiceObject.Kind.labels).select_related("blob", "location")
    ended = any(_says_ended(place, stream) for place in places)
    gone = [one for one in found if ended or one.blob is None or one.blob.state != Blob.State.STORED]
    with fenced(lease):
        damages.over(gone, vault.clock())
    return {one.pk: one for one in found if one not in gone}


def _says_ended(place: Place, stream: uuid.UUID) -> bool:
    try:
        return place.store.exists(f"ended/{stream}.json")
    except StoreError:
        return False  # out of reach: nothing is put there


def _owe(vault: Vault, places: Sequence[Place], open_ones: dict[int, Damage], lease: Held) -> None:
    """Read again, now that nobody else is at work on the stream: somebody may have mended it."""
    by_location = {place.location.pk: place for place in places}
    for damage in open_ones.values():
        place, blob = by_location.get(damage.location_id), damage.blob
        if place is None or blob is None or not Copy.objects.filter(blob=blob, location=place.location, state=Copy.State.PRESENT).exists():
            continue
        lease.keep()
        try:
            seen = judge(place, Expected(blob.name, blob.sha256, blob.size), vault.fingerprint)
        except OutOfReach:
            continue
        if seen.right:
            catalogue.mark_present(lease, place, [blob.pk], vault.clock())
            damages.mended(damage, damages.BY_ITSELF, vault.clock())
        else:
            catalogue.mark_owed(lease, place, [blob.pk])


def _judge_lost(vault: Vault, places: Sequence[Place], shelves: Shelves, blob: Blob, lease: Held, done: Mended) -> None:
    """Beyond mending only when each location in force was asked and none has it."""
    out_of_reach = sorted({location.name for location in shelves.in_force} - {place.name for place in shelves.places})
    for place in shelves.places:
        lease.keep()
        try:
            seen = judge(place, Expected(blob.name, blob.sha256, blob.size), vault.fingerprint)
        except OutOfReach as problem:
            out_of_reach.append(str(problem))
            continue
        if seen.what is None:
            done.waits.append(f"{blob.name} is whole at {place.name} and could not be put back elsewhere: {_why(shelves)}")
            return
        catching_up.note_damage(place, blob, seen.what, vault.clock())
        catalogue.mark_owed(lease, place, [blob.pk])
    if out_of_reach:
        done.waits.append(f"{blob.name} is damaged; a location that may have it whole is out of reach: {', '.join(out_of_reach)}")
        return
    done.beyond += 1
    with fenced(lease):
        for damage in Damage.objects.open().filter(blob=blob).select_related("location"):
            damages.beyond(damage, vault.clock())


def _why(shelves: Shelves) -> str:
    return "; ".join([*shelves.troubles.values(), *shelves.notes][-2:]) or "what it belongs to is not whole there"
