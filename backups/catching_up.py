"""What a location lacks: found by listing it, owed to it, and put there again from another location that has it whole (P3, P4)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from django.db import models

from backups import catalogue, idset
from backups.catalogue import InForce, Inventory
from backups.errors import NowhereWhole
from backups.leases import Held
from backups.locations import Place
from backups.manifest import stream_folder
from backups.models import BackupSet, Blob, Copy, Damage, Location
from backups.placing import fetch_from, put_and_read_back, sha256_of
from backups.stores.contract import Missing, StoreError
from backups.vault import Vault
from backups.verification import damages, setting_aside

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
    due_before = max((checked_before(place, vault.clock()) for place in shelves.places), default=vault.clock())
    found = catalogue.inventory(stream, shelves.places, due_before)
    if reconcile(vault, shelves, found, stream, lease) or found.owed:
        done = catch_up(vault, shelves, stream, lease)
        return catalogue.inventory(stream, shelves.places, due_before), done
    return found, 0


def checked_before(place: Place, now: datetime) -> datetime:
    """Checks from before that moment are due again: each location has a period of its own (`Location.recheck_days`)."""
    return now - timedelta(days=place.location.recheck_days)


def reconcile(vault: Vault, shelves: Shelves, found: Inventory, stream: uuid.UUID, lease: Held) -> bool:
    """Makes the catalogue say what the listings say: what vanished or was cut is owed again; a new location is owed everything.

    Returns whether anything had to be written.
    """
    written = False
    for place in shelves.places:
        gone = [ident for ident, name, size in found.claimed.get(place.location.pk, ()) if not shelves.holds(place, name, size)]
        if gone:
            _note_damage(vault, shelves, place, stream, gone)
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


def _note_damage(vault: Vault, shelves: Shelves, place: Place, stream: uuid.UUID, idents: Sequence[int]) -> None:
    """What a listing shows to be missing, or of another size."""
    for batch in catalogue.batches(idents):
        wrong = []
        for blob in Blob.objects.filter(pk__in=batch):
            listed = shelves.listed[place.name].get(blob.name)
            what = Damage.What.MISSING if listed is None else Damage.What.CUT if listed < blob.size else Damage.What.ALTERED
            wrong.append((blob, what))
        damages.found_together(place.location, stream, wrong, vault.clock())


def note_damage(place: Place, blob: Blob, what: Damage.What, now: datetime) -> Damage:
    """The open damage of that object at that place."""
    return damages.found(place.location, blob.name, blob.get_kind_display(), what, now, stream=blob.stream_id, blob=blob.pk)


def recheck(vault: Vault, shelves: Shelves, found: Inventory, stream: uuid.UUID, lease: Held, blob_ids: set[int]) -> bool:
    """Reads copies, of these objects and of the keys, whose check is due (`checked_before`); what is damaged is owed again.

    `found` is what was known when the run began. Returns whether any was damaged.
    """
    damaged = False
    if not found.stale:
        return False
    for place in shelves.places:
        old = checked_before(place, vault.clock())
        stale = Copy.objects.filter(location=place.location, state=Copy.State.PRESENT, checked_at__lt=old, blob__stream=stream)
        due = stale.exclude(blob__kind=Blob.Kind.ASIDE).select_related("blob")
        for blob in [copy.blob for copy in due if copy.blob_id in blob_ids or copy.blob.kind == "key"]:
            lease.keep()
            try:
                whole, what = sha256_of(place.store.get(blob.name)) == blob.sha256, Damage.What.ALTERED
            except Missing:
                whole, what = False, Damage.What.MISSING
            except StoreError as problem:
                shelves.notes.append(f"{blob.name} could not be read at {place.name} ({problem}); it is put there again")
                catalogue.mark_owed(lease, place, [blob.id])
                damaged = True
                continue
            if whole:
                catalogue.mark_present(lease, place, [blob.id], vault.clock())
            else:
                shelves.notes.append(f"{blob.name} is damaged at {place.name}; it is put back")
                note_damage(place, blob, what, vault.clock())
                catalogue.mark_owed(lease, place, [blob.id])
                damaged = True
    return damaged


def catch_up(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    """Puts what the reachable places are owed there; returns how many copies. What no place has whole stays owed and is noted."""
    locations = [place.location for place in shelves.places]
    owing = Copy.objects.filter(location__in=locations, state=Copy.State.OWED, blob__stream=stream, blob__state=Blob.State.STORED)
    names = set(owing.values_list("location__name", flat=True).distinct())
    return sum(_catch_up_place(vault, place, shelves, stream, lease) for place in shelves.places if place.name in names)


def _catch_up_place(vault: Vault, place: Place, shelves: Shelves, stream: uuid.UUID, lease: Held) -> int:
    owed = Copy.objects.filter(location=place.location, state=Copy.State.OWED, blob__stream=stream, blob__state=Blob.State.STORED)
    done, wrong = 0, {one.blob_id: one for one in Damage.objects.open().filter(location=place.location, blob__stream=stream)}
    for kind in STORING_ORDER:
        for blob in [copy.blob for copy in owed.filter(blob__kind=kind).select_related("blob", "blob__made_by").order_by("blob_id")]:
            lease.keep()
            if kind == "envelope" and missing_at(place, blob.made_by):
                continue
            try:
                sources = [place, *(other for other in shelves.places if other is not place)]
                data, source = fetch_from(sources, blob.name, blob.sha256)
                aside = partial(_set_aside, vault, place, blob, lease, wrong)
                put_and_read_back(place.store, blob.name, data, blob.sha256, aside=aside)
            except NowhereWhole as problem:
                shelves.notes.append(str(problem))
                continue
            except StoreError as problem:
                shelves.troubles[place.name] = str(problem)
                return done
            catalogue.mark_present(lease, place, [blob.id], vault.clock())
            if blob.id in wrong:
                damages.mended(wrong[blob.id], damages.BY_ITSELF if source is place else source.name, vault.clock())
            done += 1
            if kind == "envelope":
                note_protection(vault, blob.made_by)
    return done


def _set_aside(vault: Vault, place: Place, blob: Blob, lease: Held, wrong: dict[int | None, Damage], bad: bytes) -> None:
    """Before the right bytes take their place; what no check had found before is recorded now."""
    if blob.id not in wrong:
        what = Damage.What.CUT if len(bad) < blob.size else Damage.What.ALTERED
        wrong[blob.id] = note_damage(place, blob, what, vault.clock())
    setting_aside.keep(place, wrong[blob.id], bad, lease, vault.clock())


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
