"""What a location lacks: found by listing it, owed to it, and put there again from another location that has it whole (P3, P4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db import models

from backups import catalogue, idset
from backups.catalogue import InForce, Inventory
from backups.errors import NowhereWhole
from backups.leases import Held
from backups.locations import Place
from backups.manifest import stream_folder
from backups.models import BackupSet, Blob, Copy, Location
from backups.placing import fetch, put_and_read_back, sha256_of
from backups.stores.contract import StoreError
from backups.vault import Vault

DIGEST_PERIOD = timedelta(days=30)
# Blobs, then what names them: a set exists at a place once its envelope does.
STORING_ORDER = ("key", "blob", "body", "envelope")


@dataclass(slots=True)
class Shelves:
    """What the reachable places hold of one stream: for each place's name the size of each object by its name.

    To each of the locations `in_force` every object is owed.
    """

    places: tuple[Place, ...]
    listed: dict[str, dict[str, int]]
    troubles: dict[str, str]
    in_force: list[InForce]
    notes: list[str] = field(default_factory=list)

    def holds(self, place: Place, name: str, size: int) -> bool:
        return self.listed[place.name].get(name) == size


def look(places: Iterable[Place], stream: uuid.UUID) -> Shelves:
    """Lists the stream's objects at each place; a place that cannot be listed is left out, with its trouble."""
    listed, troubles, reachable = {}, {}, []
    for place in places:
        try:
            prefixes = (stream_folder(str(stream)), f"keys/{stream}/")
            listed[place.name] = {entry.name: entry.size for prefix in prefixes for entry in place.store.list(prefix)}
            reachable.append(place)
        except StoreError as problem:
            troubles[place.name] = str(problem)
    return Shelves(tuple(reachable), listed, troubles, catalogue.locations_in_force())


def caught_up(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> tuple[Inventory, int]:
    """Reconciles and catches up; what the catalogue knows after it, and how many copies were put where they were owed."""
    due_before = vault.clock() - DIGEST_PERIOD
    found = catalogue.inventory(stream, shelves.places, due_before)
    if reconcile(shelves, found, lease) or found.owed:
        done = catch_up(vault, shelves, stream, lease)
        return catalogue.inventory(stream, shelves.places, due_before), done
    return found, 0


def reconcile(shelves: Shelves, found: Inventory, lease: Held) -> bool:
    """Makes the catalogue say what the listings say: what vanished or was cut is owed again; a new location is owed everything.

    Returns whether anything had to be written.
    """
    written = False
    for place in shelves.places:
        gone = [ident for ident, name, size in found.claimed.get(place.location.pk, ()) if not shelves.holds(place, name, size)]
        if gone:
            shelves.notes.append(f"{len(gone)} objects were missing or cut at {place.name}; they are put back")
            catalogue.mark_owed(lease, place, gone)
            written = True
    known = found.known
    for location in shelves.in_force:
        new = [Copy(blob_id=ident, location_id=location.pk) for ident in sorted(known - found.with_a_row.get(location.pk, set()))]
        if new:
            Copy.objects.bulk_create(new)
            written = True
    return written


def recheck(vault: Vault, shelves: Shelves, found: Inventory, stream: uuid.UUID, lease: Held, blob_ids: set[int]) -> bool:
    """Reads copies, of these objects and of the keys, last checked more than 30 days ago; what is damaged is owed again.

    `found` is what was known when the run began. Returns whether any was damaged.
    """
    damaged = False
    old, locations = vault.clock() - DIGEST_PERIOD, [place.location for place in shelves.places]
    if not found.stale:
        return False
    stale = Copy.objects.filter(location__in=locations, state=Copy.State.PRESENT, checked_at__lt=old, blob__stream=stream)
    due = [copy for copy in stale.select_related("blob") if copy.blob_id in blob_ids or copy.blob.kind == "key"]
    for place in shelves.places:
        for blob in [copy.blob for copy in due if copy.location_id == place.location.pk]:
            lease.keep()
            if _is_whole(place, blob):
                catalogue.mark_present(lease, place, [blob.id], vault.clock())
            else:
                shelves.notes.append(f"{blob.name} is damaged at {place.name}; it is put back")
                catalogue.mark_owed(lease, place, [blob.id])
                damaged = True
    return damaged


def _is_whole(place: Place, blob: Blob) -> bool:
    try:
        return sha256_of(place.store.get(blob.name)) == blob.sha256
    except StoreError:
        return False


def catch_up(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    """Puts what the reachable places are owed there; returns how many copies. What no place has whole stays owed and is noted."""
    locations = [place.location for place in shelves.places]
    owing = Copy.objects.filter(location__in=locations, state=Copy.State.OWED, blob__stream=stream, blob__state=Blob.State.STORED)
    names = set(owing.values_list("location__name", flat=True).distinct())
    return sum(_catch_up_place(vault, place, shelves, stream, lease) for place in shelves.places if place.name in names)


def _catch_up_place(vault: Vault, place: Place, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    owed = Copy.objects.filter(location=place.location, state=Copy.State.OWED, blob__stream=stream, blob__state=Blob.State.STORED)
    done = 0
    for kind in STORING_ORDER:
        for blob in [copy.blob for copy in owed.filter(blob__kind=kind).select_related("blob", "blob__made_by").order_by("blob_id")]:
            lease.keep()
            if kind == "envelope" and missing_at(place, blob.made_by):
                continue
            try:
                data = fetch([place, *(other for other in shelves.places if other is not place)], blob.name, blob.sha256)
                put_and_read_back(place.store, blob.name, data, blob.sha256)
            except NowhereWhole as problem:
                shelves.notes.append(str(problem))
                continue
            except StoreError as problem:
                shelves.troubles[place.name] = str(problem)
                return done
            catalogue.mark_present(lease, place, [blob.id], vault.clock())
            done += 1
            if kind == "envelope":
                note_protection(vault, blob.made_by)
    return done


def missing_at(place: Place, backup_set: BackupSet | None) -> int:
    """How many objects the set needs there and that are not there yet, its envelope left aside."""
    return missing_by_place([place], backup_set)[place.name]


def missing_by_place(places: Sequence[Place], backup_set: BackupSet | None) -> dict[str, int]:
    """As `missing_at`, for each place's name, in one query."""
    if backup_set is None:
        return {place.name: 1 for place in places}
    needed, present = idset.unpacked(bytes(backup_set.blob_ids)), catalogue.needed_there(backup_set, places)
    return {place.name: _lacking(needed, present[place.location.pk]) for place in places}


def _lacking(needed: set[int], present: dict[int, str]) -> int:
    """Of the blobs, the body and the key, which may be there wrapped more than once."""
    return len(needed - present.keys()) + 2 - len({kind for kind in present.values() if kind != "blob"})


def note_protection(vault: Vault, backup_set: BackupSet | None) -> list[str]:
    """Records when a set became complete (whole at one location) and protected (whole at all required ones); returns where it is whole."""
    if backup_set is None:
        return []
    whole = judge_protection(vault, backup_set, catalogue.locations_in_force())
    backup_set.save(update_fields=["complete_at", "protected_at"])
    return whole


def judge_protection(vault: Vault, backup_set: BackupSet, in_force: Iterable[InForce]) -> list[str]:
    """As `note_protection`, for the caller to save with what else it has to say of the set."""
    whole = catalogue.places_with(backup_set)
    now = vault.clock()
    if whole:
        backup_set.complete_at = backup_set.complete_at or now
    if whole and all(location.name in whole for location in in_force if location.required):
        backup_set.protected_at = backup_set.protected_at or now
    return whole


def owed_to(locations: Sequence[Location]) -> dict[str, tuple[int, int]]:
    """For each location's name how many copies are owed to it, and how many bytes."""
    owed: dict[str, tuple[int, int]] = {}
    for location in locations:
        copies = Copy.objects.filter(location=location, state=Copy.State.OWED, blob__state=Blob.State.STORED)
        found = copies.aggregate(count=models.Count("pk"), size=models.Sum("blob__size"))
        owed[location.name] = (found["count"], found["size"] or 0)
    return owed
