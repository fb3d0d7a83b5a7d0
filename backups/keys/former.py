"""Former wrappings of keys go: by the destroyer, once every location that answers has the new one, read back and opened (design section 5).

A location that is down keeps what it has and is asked again; a legal hold keeps none of them, for what they open is kept by the new one.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pyrage

from audit.events import Event, record
from backups import leases
from backups.errors import BackupError
from backups.keyfiles import KeyRing
from backups.keynames import key_name, newest_first
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import Blob, Copy
from backups.placing import sha256_of
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import standing


@dataclass(slots=True)
class Gone:
    """`objects` are at no location any more; `left` says what is, and why."""

    wrapping: int
    objects: int = 0
    left: list[str] = field(default_factory=list)


def former(wrapping: int) -> dict[uuid.UUID, list[int]]:
    """For each stream the numbers of the keys that have wrappings before that one beside one of it; one query."""
    found: dict[tuple[uuid.UUID, int], set[int]] = defaultdict(set)
    keys = Blob.objects.filter(kind=Blob.Kind.KEY).exclude(stream__in=standing.ended())
    for stream, name in keys.values_list("stream_id", "name").iterator(chunk_size=2000):
        number, wrapped = key_name(name)
        found[stream, number].add(wrapped)
    streams: dict[uuid.UUID, list[int]] = defaultdict(list)
    for (stream, number), wrappings in sorted(found.items()):
        if wrapping in wrappings and min(wrappings) < wrapping:
            streams[stream].append(number)
    return dict(streams)


def remove_former(vault: Vault, progress: Callable[[str], None] = lambda _: None) -> Gone:
    """Removes them wherever that is safe now. Stands inside `audit.acting(...)`. Raises `KeysMissing`."""
    ring = vault.keys.now()
    gone, waiting = Gone(ring.wrapping), former(ring.wrapping)
    if not waiting:
        return gone
    places, troubles = vault.usable()
    gone.left += [f"{name}: {why}" for name, why in troubles.items()]
    for at, (stream, numbers) in enumerate(waiting.items(), start=1):
        progress(f"{at} of {len(waiting)} customers: former wrappings go")
        try:
            with leases.holding(leases.lease_name(stream), doing="keys", clock=vault.clock) as lease:
                for number in numbers:
                    _of_key(ring, places, stream, number, lease, gone)
        except (BackupError, StoreError) as problem:
            gone.left.append(f"{stream}: {problem}")
    if gone.objects:
        facts = {"wrapping": gone.wrapping, "objects": gone.objects, "left": len(gone.left)}
        record(Event.KEYS_REMOVED, subject="keys:ring", facts=facts)
    return gone


def _of_key(ring: KeyRing, places: Sequence[Place], stream: uuid.UUID, number: int, lease: Held, gone: Gone) -> None:
    blobs = sorted(
        (one for one in Blob.objects.filter(stream=stream, kind=Blob.Kind.KEY) if key_name(one.name).number == number),
        key=lambda one: newest_first(one.name),
    )
    newest, earlier = blobs[0], [one for one in blobs[1:] if key_name(one.name).wrapping < ring.wrapping]
    if newest.state != Blob.State.STORED or key_name(newest.name).wrapping != ring.wrapping or not earlier:
        return
    lacking = [trouble for place in places if (trouble := _why_lacking(ring, place, newest))]
    if lacking or not places:
        gone.left += [f"{newest.name}: {why}" for why in lacking]
        return
    with fenced(lease):
        Blob.objects.filter(pk__in=[one.pk for one in earlier]).update(state=Blob.State.CONDEMNED)
    for place in places:
        lease.keep()
        _remove_there(place, earlier, stream, lease, gone)
    with fenced(lease):
        done = Blob.objects.filter(pk__in=[one.pk for one in earlier], copies=None)
        gone.objects += done.count()
        done.delete()
    for name, copies in groupby(Copy.objects.filter(blob__in=earlier).select_related("blob", "location"), lambda one: one.blob.name):
        gone.left.append(f"{name} is kept at {', '.join(one.location.name for one in copies)}, which does not answer or is used no more")


def _why_lacking(ring: KeyRing, place: Place, newest: Blob) -> str:
    """Why the former wrapping must stay there: empty when the new one was read there just now, and the online master alone opens it."""
    if not Copy.objects.filter(blob=newest, location=place.location, state=Copy.State.PRESENT).exists():
        return f"it is owed to {place.name}"
    try:
        data = place.store.get(newest.name)
        pyrage.decrypt(data, [ring.master])
    except (StoreError, pyrage.DecryptError) as problem:
        return f"it does not open at {place.name} ({problem})"
    return "" if sha256_of(data) == newest.sha256 else f"it is damaged at {place.name}"


def _remove_there(place: Place, earlier: Sequence[Blob], stream: uuid.UUID, lease: Held, gone: Gone) -> None:
    try:
        for one in earlier:
            place.store.remove(one.name)
        folder = f"keys/{stream}/"
        seen = {entry.name for entry in place.store.list(folder)} | {leftover.name for leftover in place.store.leftovers(folder)}
    except StoreError as problem:
        gone.left.append(f"{place.name}: {problem}")
        return
    gone.left += [f"{one.name} is still listed at {place.name}" for one in earlier if one.name in seen]
    with fenced(lease):
        Copy.objects.filter(blob__in=[one for one in earlier if one.name not in seen], location=place.location).delete()
