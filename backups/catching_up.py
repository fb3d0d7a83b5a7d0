"""What a location lacks: found by listing it, owed to it, and put there again from another location that has it whole (P3, P4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from backups import catalogue, idset
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
_ORDER = ("key", "blob", "body", "envelope")


@dataclass(slots=True)
class Shelves:
    """What the reachable places hold of one stream: for each place's name the size of each object by its name."""

    places: tuple[Place, ...]
    listed: dict[str, dict[str, int]]
    troubles: dict[str, str]
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
    return Shelves(tuple(reachable), listed, troubles)


def reconcile(shelves: Shelves, stream: uuid.UUID, lease: Held) -> None:
    """Makes the catalogue say what the listings say: what vanished or was cut is owed again; a new location is owed everything."""
    for place in shelves.places:
        present = Copy.objects.filter(location=place.location, state=Copy.State.PRESENT, blob__stream=stream)
        rows = present.exclude(blob__state=Blob.State.CONDEMNED).values_list("blob_id", "blob__name", "blob__size")
        gone = [blob_id for blob_id, name, size in rows.iterator() if not shelves.holds(place, name, size)]
        if gone:
            shelves.notes.append(f"{len(gone)} objects were missing or cut at {place.name}; they are put back")
            catalogue.mark_owed(lease, place, gone)
    for location in Location.objects.filter(in_force=True):
        without = Blob.objects.filter(stream=stream).exclude(state=Blob.State.CONDEMNED).exclude(copies__location=location)
        Copy.objects.bulk_create(Copy(blob=blob, location=location) for blob in without.iterator())


def recheck(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, blob_ids: set[int]) -> None:
    """Reads copies whose digest was last checked more than 30 days ago; what is damaged is owed again."""
    old = vault.clock() - DIGEST_PERIOD
    for place in shelves.places:
        stale = Copy.objects.filter(location=place.location, state=Copy.State.PRESENT, checked_at__lt=old, blob__stream=stream)
        for blob in [copy.blob for copy in stale.select_related("blob") if copy.blob_id in blob_ids]:
            lease.keep()
            if _is_whole(place, blob):
                catalogue.mark_present(lease, place, [blob.id], vault.clock())
            else:
                shelves.notes.append(f"{blob.name} is damaged at {place.name}; it is put back")
                catalogue.mark_owed(lease, place, [blob.id])


def _is_whole(place: Place, blob: Blob) -> bool:
    try:
        return sha256_of(place.store.get(blob.name)) == blob.sha256
    except StoreError:
        return False


def catch_up(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    """Puts what the reachable places are owed there; returns how many copies. What no place has whole stays owed and is noted."""
    return sum(_catch_up_place(vault, place, shelves, stream, lease) for place in shelves.places)


def _catch_up_place(vault: Vault, place: Place, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    owed = Copy.objects.filter(location=place.location, state=Copy.State.OWED, blob__stream=stream, blob__state=Blob.State.STORED)
    done = 0
    for kind in _ORDER:
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
    if backup_set is None:
        return 1
    stream = backup_set.stream_id
    missing = len(idset.unpacked(bytes(backup_set.blob_ids)) - catalogue.present_at(stream, [place]))
    body = Copy.objects.filter(location=place.location, blob__kind="body", blob__made_by=backup_set, state=Copy.State.PRESENT)
    key_name = f"keys/{stream}/{backup_set.key_number}.age"
    key = Copy.objects.filter(location=place.location, blob__name=key_name, state=Copy.State.PRESENT)
    return missing + (not body.exists()) + (not key.exists())


def note_protection(vault: Vault, backup_set: BackupSet | None) -> None:
    """Records when a set became complete (whole at one location) and protected (whole at all required ones)."""
    if backup_set is None:
        return
    whole = places_with(backup_set)
    now = vault.clock()
    if whole:
        backup_set.complete_at = backup_set.complete_at or now
    required = Location.objects.filter(in_force=True, required=True)
    if whole and all(location.name in whole for location in required):
        backup_set.protected_at = backup_set.protected_at or now
    backup_set.save(update_fields=["complete_at", "protected_at"])


def places_with(backup_set: BackupSet) -> list[str]:
    """The names of the locations where the set is whole: those with its envelope."""
    copies = Copy.objects.filter(blob__kind="envelope", blob__made_by=backup_set, state=Copy.State.PRESENT)
    return list(copies.order_by("location__position").values_list("location__name", flat=True))


def owed_to(locations: Sequence[Location]) -> dict[str, tuple[int, int]]:
    """For each location's name how many copies are owed to it, and how many bytes."""
    owed: dict[str, tuple[int, int]] = {}
    for location in locations:
        sizes = Copy.objects.filter(location=location, state=Copy.State.OWED, blob__state=Blob.State.STORED).values_list(
            "blob__size", flat=True
        )
        owed[location.name] = (len(sizes), sum(sizes))
    return owed
