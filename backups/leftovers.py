"""What a killed run left behind: a set that was finished after all, objects that can be used, and objects that nobody needs.

Order is safety. An object is removed only after its row is condemned, which one transaction decides: no set names it, unfinished
ones included. Objects that no row knows are reported and never removed.
"""

from __future__ import annotations

import json
import shutil
import uuid
from dataclasses import dataclass

from audit.signing import BadSignature, verify
from backups import catalogue, idset
from backups.catching_up import Shelves, note_protection
from backups.leases import Held, fenced
from backups.manifest import BadManifest, check_envelope, object_name
from backups.models import BackupSet, Blob, Copy
from backups.placing import sha256_of
from backups.stores.contract import Store, StoreError
from backups.vault import Vault


@dataclass(frozen=True, slots=True)
class Swept:
    """`removed` objects, `unknown` names that no row knows, `left` with the reason why a place still holds some."""

    removed: int = 0
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def settle(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> None:
    """Ends what runs that are over left open. We hold the lease, so no set in the making has anybody who makes it."""
    adopt(vault, shelves, stream, lease)
    for backup_set in BackupSet.objects.filter(stream=stream, state=BackupSet.State.MAKING):
        if _finished_after_all(vault, shelves, backup_set, lease):
            shelves.notes.append(f"the set of {backup_set.night} was finished by a run that was cut short; it counts")
        else:
            _abandon(vault, backup_set, lease)
            shelves.notes.append(f"a run begun {backup_set.started_at:%Y-%m-%d %H:%M} UTC was cut short; what it stored is used again")


def adopt(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> None:
    """Intended objects that are there whole count as stored; rows of those that never came to be go."""
    for blob in Blob.objects.filter(stream=stream, state=Blob.State.INTENDED):
        lease.keep()
        for place in shelves.places:
            if shelves.holds(place, blob.name, blob.size) and sha256_of(place.store.get(blob.name)) == blob.sha256:
                catalogue.mark_present(lease, place, [blob.id], vault.clock())
    nowhere = Blob.objects.filter(stream=stream, state=Blob.State.INTENDED)
    if not shelves.troubles:
        with fenced(lease):
            nowhere.delete()


def _finished_after_all(vault: Vault, shelves: Shelves, backup_set: BackupSet, lease: Held) -> bool:
    name = object_name(str(backup_set.stream_id), "envelope", str(backup_set.id))
    envelope = Blob.objects.filter(name=name, copies__state=Copy.State.PRESENT).first()
    if envelope is None:
        return False
    for place in shelves.places:
        if name in shelves.listed[place.name] and _verifies(vault, place.store.get(name), backup_set):
            with fenced(lease):
                backup_set.state, backup_set.ended_at = BackupSet.State.MADE, vault.clock()
                backup_set.save(update_fields=["state", "ended_at"])
            note_protection(vault, backup_set)
            return True
    return False


def _verifies(vault: Vault, data: bytes, backup_set: BackupSet) -> bool:
    try:
        envelope = verify(json.loads(data), vault.fingerprint)
        check_envelope(envelope, stream=str(backup_set.stream_id), ident=str(backup_set.id))
    except (BadSignature, BadManifest, ValueError):
        return False
    return True


def _abandon(vault: Vault, backup_set: BackupSet, lease: Held) -> None:
    with fenced(lease):
        backup_set.state, backup_set.ended_at = BackupSet.State.ABANDONED, vault.clock()
        backup_set.trouble = backup_set.trouble or "The process ended before the set was finished."
        backup_set.save(update_fields=["state", "ended_at", "trouble"])
    shutil.rmtree(vault.spool / str(backup_set.id), ignore_errors=True)


def sweep(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> Swept:
    """Removes what no set names, everywhere that can be reached; the next sweep goes on with the rest."""
    condemn(stream, lease)
    removed, left = 0, []
    for blob in Blob.objects.filter(stream=stream, state=Blob.State.CONDEMNED):
        lease.keep()
        for copy in blob.copies.select_related("location"):
            place = next((one for one in shelves.places if one.location == copy.location), None)
            trouble = "not reachable" if place is None else _removed(place.store, blob.name)
            if trouble:
                left.append(f"{blob.name} at {copy.location.name}: {trouble}")
            else:
                copy.delete()
        if not blob.copies.exists():
            blob.delete()
            removed += 1
    return Swept(removed, tuple(unknown(shelves, stream)), tuple(left))


def _removed(store: Store, name: str) -> str:
    try:
        store.remove(name)
    except StoreError as problem:
        return str(problem)
    return ""


def condemn(stream: uuid.UUID, lease: Held) -> int:
    """Marks the stored content that no set names, and what stands of abandoned sets, as absent for writers; returns how many."""
    with fenced(lease):
        named: set[int] = set()
        for ids in BackupSet.objects.filter(stream=stream).exclude(state=BackupSet.State.ABANDONED).values_list("blob_ids", flat=True):
            named |= idset.unpacked(bytes(ids))
        stored = Blob.objects.filter(stream=stream, state=Blob.State.STORED)
        unnamed = [ident for ident in stored.filter(kind="blob").values_list("id", flat=True) if ident not in named]
        unnamed += stored.filter(kind__in=("body", "envelope"), made_by__state=BackupSet.State.ABANDONED).values_list("id", flat=True)
        for batch in catalogue.batches(unnamed):
            Blob.objects.filter(id__in=batch).update(state=Blob.State.CONDEMNED)
    return len(unnamed)


def unknown(shelves: Shelves, stream: uuid.UUID) -> list[str]:
    """Names at the places that no row knows."""
    known = set(Blob.objects.filter(stream=stream).values_list("name", flat=True))
    return sorted({f"{place.name}:{name}" for place in shelves.places for name in shelves.listed[place.name] if name not in known})
