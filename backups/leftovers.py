"""What a killed run left behind: a set that was finished after all, objects that can be used, and objects that nobody needs.

What is removed is removed as `removing.py` does it. Objects that no row knows are reported and never removed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from audit.signing import BadSignature, verify
from backups import catalogue, removing, spool
from backups.catalogue import Inventory
from backups.catching_up import Shelves, note_protection
from backups.errors import NowhereWhole
from backups.hot import timelines
from backups.leases import Held, fenced
from backups.locations import Place
from backups.manifest import BadManifest, check_envelope, object_name
from backups.models import BackupSet, Blob, Copy
from backups.placing import fetch, sha256_of
from backups.statements import ask
from backups.stores.contract import Missing, StoreError
from backups.vault import Vault

_OPEN = (
    f"SELECT 1 FROM {Blob._meta.db_table} WHERE stream_id = %s AND state = %s AND NOT hot "  # noqa: S608  (names from the models)
    f"UNION ALL SELECT 1 FROM {BackupSet._meta.db_table} WHERE stream_id = %s AND state = %s"
)


@dataclass(frozen=True, slots=True)
class Swept:
    """`removed` objects, `unknown` names that no row knows, `left` with the reason why a place still holds some."""

    removed: int = 0
    unknown: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def settle(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held) -> None:
    """Ends what runs that are over left open. We hold the lease, so no set in the making has anybody who makes it."""
    spool.clear(vault.spool, stream)
    if not ask(_OPEN, stream, Blob.State.INTENDED, stream, BackupSet.State.MAKING):
        return
    adopt(vault, shelves, stream, lease)
    for backup_set in BackupSet.objects.filter(stream=stream, state=BackupSet.State.MAKING):
        if _finished_after_all(vault, shelves, backup_set, lease):
            shelves.notes.append(f"the set of {backup_set.night} was finished by a run that was cut short; it counts")
        else:
            _abandon(vault, backup_set, lease)
            shelves.notes.append(f"a run begun {backup_set.started_at:%Y-%m-%d %H:%M} UTC was cut short; what it stored is used again")


def adopt(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, kinds: Sequence[str] = Blob.Kind.values) -> None:
    """Intended objects that are there whole count as stored; rows of those that never came to be go. The hot shipper's are its own."""
    open_ones = Blob.objects.filter(stream=stream, state=Blob.State.INTENDED, hot=False, kind__in=kinds)
    intended = list(open_ones)
    for blob in intended:
        lease.keep()
        for place in shelves.places:
            if shelves.holds(place, blob.name, blob.size) and _stands(place, blob, shelves):
                catalogue.mark_present(lease, place, [blob.id], vault.clock())
    if intended and not shelves.troubles:
        with fenced(lease):
            open_ones.all().delete()


def _stands(place: Place, blob: Blob, shelves: Shelves) -> bool:
    """Whether the place gives the object whole. One that cannot tell is in trouble, and rows of what it may hold stay; one that lists
    what it does not have (a server killed in the middle of a put) can tell."""
    try:
        return sha256_of(place.store.get(blob.name)) == blob.sha256
    except Missing:
        return False
    except StoreError as problem:
        shelves.troubles[place.name] = str(problem)
        return False


def _finished_after_all(vault: Vault, shelves: Shelves, backup_set: BackupSet, lease: Held) -> bool:
    name = object_name(str(backup_set.stream_id), "envelope", str(backup_set.id))
    envelope = Blob.objects.filter(name=name, copies__state=Copy.State.PRESENT).first()
    if envelope is None or not _verifies(vault, shelves, envelope, backup_set):
        return False
    with fenced(lease):
        backup_set.state, backup_set.ended_at = BackupSet.State.MADE, vault.clock()
        backup_set.save(update_fields=["state", "ended_at"])
    note_protection(vault, backup_set)
    return True


def _verifies(vault: Vault, shelves: Shelves, envelope: Blob, backup_set: BackupSet) -> bool:
    try:
        document = verify(json.loads(fetch(shelves.places, envelope.name, envelope.sha256)), vault.fingerprint)
        check_envelope(document, stream=str(backup_set.stream_id), ident=str(backup_set.id))
    except (NowhereWhole, BadSignature, BadManifest, ValueError):
        return False
    return True


def _abandon(vault: Vault, backup_set: BackupSet, lease: Held) -> None:
    with fenced(lease):
        backup_set.state, backup_set.ended_at = BackupSet.State.ABANDONED, vault.clock()
        backup_set.trouble = backup_set.trouble or "The process ended before the set was finished."
        backup_set.save(update_fields=["state", "ended_at", "trouble"])


def sweep(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, found: Inventory) -> Swept:
    """Removes what no set names, everywhere that can be reached; the next sweep goes on with the rest. `found` is what was known when
    the run began: it told whether there can be anything to remove, for the run itself leaves nothing.

    How they go, and in which order, is in `removing.py`.
    """
    strange = tuple(unknown(shelves, found))
    if found.in_order:
        return Swept(unknown=strange)
    try:
        timelines.refuse_stopped()  # a set that this database forgot may name what looks unneeded
    except timelines.Stopped as stopped:
        return Swept(unknown=strange, left=(str(stopped),))
    removing.condemn(stream, lease)
    removal = removing.remove_condemned(shelves.places, stream, lease)
    return Swept(removal.objects, strange, tuple(removal.left))


def unknown(shelves: Shelves, found: Inventory) -> list[str]:
    """Names at the places that no row knew when they were listed."""
    return sorted({f"{place.name}:{name}" for place in shelves.places for name in shelves.listed[place.name] if name not in found.names})
