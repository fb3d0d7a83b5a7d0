"""Stored objects go: condemned in one transaction, then removed at every location, envelopes first (design section 5).

Order is safety. A row is condemned only when no set names it, unfinished ones included; from then on writers take it as absent. At each
location envelopes go before bodies and bodies before blobs, and a location that refuses one is asked for no other: killed at any moment,
no envelope stands without all that it names. What was removed is looked for again before it is called so, and a legal hold placed
meanwhile stops at the next step. Objects that no row knows are never removed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backups import catalogue, idset
from backups.leases import Held, fenced
from backups.locations import Place
from backups.manifest import stream_folder
from backups.models import BackupSet, Blob, Chunk, Copy, Damage, StoredFile
from backups.stores.contract import StoreError
from subscriptions import holds

ORDER = (Blob.Kind.ENVELOPE, Blob.Kind.BODY, Blob.Kind.BLOB, Blob.Kind.ASIDE)
# Sets that name nothing any more.
GONE = (BackupSet.State.ABANDONED, BackupSet.State.LEAVING, BackupSet.State.REMOVED)
TOGETHER = 100


@dataclass(slots=True)
class Removal:
    """What went: `objects` that are at no location any more, with their stored `bytes`; `left` says what could not go yet, and why."""

    objects: int = 0
    bytes: int = 0
    left: list[str] = field(default_factory=list)


def condemn(stream: uuid.UUID, lease: Held) -> int:
    """Marks what no set names, and what stands of sets that are given up or leave, as absent for writers; returns how many."""
    if not _unnamed(stream):  # a look without the transaction: mostly there is nothing
        return 0
    with fenced(lease):
        unnamed = _unnamed(stream)
        for batch in catalogue.batches(unnamed):
            Blob.objects.filter(id__in=batch).update(state=Blob.State.CONDEMNED)
    return len(unnamed)


def _unnamed(stream: uuid.UUID) -> list[int]:
    named: set[int] = set()
    for ids in BackupSet.objects.filter(stream=stream).exclude(state__in=GONE).values_list("blob_ids", flat=True):
        named |= idset.unpacked(bytes(ids))
    there = (Blob.State.STORED, Blob.State.INTENDED)
    rows = Blob.objects.filter(stream=stream, state__in=there, hot=False).values_list("id", "kind", "made_by__state", "state")
    # An envelope that was perhaps put before its process was killed goes with its set too, for its body does.
    own = [ident for ident, kind, made_by, _ in rows if kind in (Blob.Kind.BODY, Blob.Kind.ENVELOPE) and made_by in GONE]
    stored = [(ident, kind) for ident, kind, _, state in rows if state == Blob.State.STORED]
    unnamed = [*own, *(ident for ident, kind in stored if kind == Blob.Kind.BLOB and ident not in named)]
    aside = {ident for ident, kind in stored if kind == Blob.Kind.ASIDE}
    return [*unnamed, *(_pointless(aside, set(unnamed)) if aside else ())]


def _pointless(aside: set[int], unnamed: set[int]) -> list[int]:
    """What was set aside goes with the object for which it stood."""
    stood_for = Damage.objects.filter(aside_blob__in=aside).values_list("aside_blob", "blob", "blob__state")
    needed = {ident for ident, blob, state in stood_for if blob is not None and state != Blob.State.CONDEMNED and blob not in unnamed}
    return sorted(aside - needed)


def remove_condemned(places: Iterable[Place], stream: uuid.UUID, lease: Held) -> Removal:
    """Removes the stream's condemned objects at these places; copies elsewhere stay owed to the next try. Raises `LeaseLost`."""
    removal = Removal()
    reachable = {place.location.pk: place for place in places}
    for kind in ORDER:
        condemned = list(Blob.objects.filter(stream=stream, state=Blob.State.CONDEMNED, kind=kind).order_by("id"))
        if condemned and not _stage(condemned, stream, reachable, lease, removal):
            removal.left.append("a legal hold was placed: nothing more is removed until it is released")
            break
    if removal.objects:
        _forget_files(stream)
    return removal


def _stage(blobs: Sequence[Blob], stream: uuid.UUID, reachable: dict[int, Place], lease: Held, removal: Removal) -> bool:
    """Objects of one kind: asked to go at every place, then looked for again. False when a hold was placed meanwhile."""
    asked: dict[int, list[Copy]] = {}
    goes_on = True
    for start in range(0, len(blobs), TOGETHER):
        if stream in holds.held([stream]):
            goes_on = False
            break
        _ask(blobs[start : start + TOGETHER], reachable, lease, asked, removal)
    by_pk = {blob.pk: blob for blob in blobs}
    gone = [copy.pk for location, those in asked.items() for copy in _really_gone(location, those, by_pk, reachable, stream, removal)]
    for batch in catalogue.batches(gone):
        with fenced(lease):
            Copy.objects.filter(pk__in=batch).delete()
    for batch in catalogue.batches(sorted(by_pk)):
        with fenced(lease):
            done = Blob.objects.filter(pk__in=batch, state=Blob.State.CONDEMNED, copies=None)
            sizes = list(done.values_list("size", flat=True))
            done.delete()
        removal.objects += len(sizes)
        removal.bytes += sum(sizes)
    return goes_on


def _ask(blobs: Sequence[Blob], reachable: dict[int, Place], lease: Held, asked: dict[int, list[Copy]], removal: Removal) -> None:
    """Removes these objects at every place; one that refuses is left out from there on."""
    for copy in Copy.objects.filter(blob__in=blobs).select_related("location", "blob").order_by("blob", "location__position"):
        if copy.location_id not in reachable:
            why = "it cannot be used now" if copy.location.in_force else "the environment names it no more"
            removal.left.append(f"{copy.blob.name} at {copy.location.name}: {why}")
            continue
        lease.keep()
        trouble = _removed(reachable[copy.location_id], copy.blob.name)
        if trouble:
            removal.left.append(f"{copy.blob.name} at {copy.location.name}: {trouble}")
            reachable.pop(copy.location_id)
        else:
            asked.setdefault(copy.location_id, []).append(copy)


def _removed(place: Place, name: str) -> str:
    try:
        place.store.remove(name)
    except StoreError as problem:
        return str(problem)
    return ""


def _really_gone(
    location: int, copies: Sequence[Copy], blobs: dict[int, Blob], reachable: dict[int, Place], stream: uuid.UUID, removal: Removal
) -> list[Copy]:
    """Those that a fresh listing of the customer's folder shows no more, in no version."""
    place = reachable.get(location)
    if place is None:
        return []
    folder = stream_folder(str(stream))
    try:
        seen = {entry.name for entry in place.store.list(folder)} | {leftover.name for leftover in place.store.leftovers(folder)}
    except StoreError as problem:
        removal.left.append(f"{place.name} could not be listed again: {problem}")
        reachable.pop(location)
        return []
    still = [copy for copy in copies if blobs[copy.blob_id].name in seen]
    removal.left += [f"{blobs[copy.blob_id].name} is still listed at {place.name}" for copy in still]
    return [copy for copy in copies if copy not in still]


def _forget_files(stream: uuid.UUID) -> None:
    """Large files whose chunks are gone need not be known any more."""
    known = list(StoredFile.objects.filter(stream=stream))
    wanted = {ident for one in known for ident in one.chunk_ids}
    there: set[int] = set()
    for batch in catalogue.batches(sorted(wanted)):
        there.update(Chunk.objects.filter(pk__in=batch).values_list("pk", flat=True))
    StoredFile.objects.filter(pk__in=[one.pk for one in known if not there.issuperset(one.chunk_ids)]).delete()
