"""Every customer's key is wrapped for the ring in force, and put at every location that answers (design section 5).

What is to be done is found by comparing the names of the stored keys with the ring, so a pass that was killed is gone on with, and a key
that slipped through is found by the next. Each stream is done under its own lease; one that is being backed up waits for the next pass.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Count, Max, Min
from pyrage.x25519 import Identity

from audit.events import Event, record
from backups import catalogue, catching_up, leases, leftovers
from backups.catching_up import Shelves
from backups.customerkeys import of_catalogue, refuse_ended, store_wrapped
from backups.errors import BackupError, NoLocation
from backups.keyfiles import KeyRing
from backups.keynames import KeyName, key_name
from backups.keys.named import with_key
from backups.locations import Place
from backups.manifest import object_name
from backups.models import Blob, Copy
from backups.placing import fetch, put_and_read_back
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import standing

Progress = Callable[[str], None]


@dataclass(slots=True)
class Wrapped:
    """`keys` were wrapped anew; `left` says which could not be, and why; `owed` are locations that did not answer: they keep the former
    wrapping until they have the new one, which is owed to them."""

    wrapping: int
    keys: int = 0
    left: list[str] = field(default_factory=list)
    owed: set[str] = field(default_factory=set)


def pending(wrapping: int, only: uuid.UUID | None = None) -> dict[uuid.UUID, list[int]]:
    """For each stream the numbers of its keys that no stored wrapping of that number or a later one has; one query."""
    found: dict[uuid.UUID, list[int]] = defaultdict(list)
    for stream, name in _pending(wrapping, only).values_list("stream_id", "one").iterator(chunk_size=2000):
        found[stream].append(key_name(name).number)
    return {stream: sorted(numbers) for stream, numbers in sorted(found.items())}


def count_pending(wrapping: int) -> tuple[int, int]:
    """How many keys are `pending`, and of how many streams; one query."""
    counted = _pending(wrapping).aggregate(keys=Count("key"), streams=Count("stream_id", distinct=True))
    return counted["keys"], counted["streams"]


def _pending(wrapping: int, only: uuid.UUID | None = None) -> Any:
    """A row for each such key, with one of its names."""
    stored = Blob.objects.filter(kind=Blob.Kind.KEY, state=Blob.State.STORED, **({"stream": only} if only else {}))
    stored = stored.exclude(stream__in=standing.ended())  # these keys are about to be destroyed
    keys = with_key(stored).order_by().values("stream_id", "key")
    return keys.annotate(one=Min("name"), newest=Max("wrapped")).filter(newest__lt=wrapping)


def wrap_anew(vault: Vault, *, escrow: Identity | None = None, progress: Progress = lambda _: None) -> Wrapped:
    """Wraps what is not wrapped for the ring in force. `escrow` opens what the masters that are here do not. Stands inside `audit.acting`.

    Raises `KeysMissing`, `NoLocation` when no location can be used.
    """
    ring = vault.keys.now()
    done, waiting, owing = Wrapped(ring.wrapping), pending(ring.wrapping), owing_streams()
    if not waiting and not owing:
        return done
    opener = replace(ring, retired=(*ring.retired, *([escrow] if escrow else [])))
    places, troubles = vault.usable()
    if not places:
        raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    done.owed |= troubles.keys()
    for at, (stream, numbers) in enumerate(waiting.items(), start=1):
        progress(f"{at} of {len(waiting)} customers: keys are wrapped anew")
        try:
            done.keys += _of_stream(replace(vault, places=places), stream, opener, numbers, done)
        except (BackupError, StoreError) as problem:
            done.left.append(f"{stream}: {problem}")
    for stream in owing:
        try:
            _bring_owed(vault, places, stream)
        except (BackupError, StoreError) as problem:
            done.left.append(f"{stream}: {problem}")
    if done.keys:
        record(Event.KEYS_WRAPPED, subject="keys:ring", facts={"wrapping": done.wrapping, "keys": done.keys, "left": len(done.left)})
    return done


def owing_streams() -> list[uuid.UUID]:
    """Whose stored keys are owed to a location."""
    owed = Copy.objects.filter(state=Copy.State.OWED, blob__kind=Blob.Kind.KEY, blob__state=Blob.State.STORED, location__in_force=True)
    return list(owed.exclude(blob__stream__in=standing.ended()).order_by().values_list("blob__stream", flat=True).distinct())


def _bring_owed(vault: Vault, places: Sequence[Place], stream: uuid.UUID) -> None:
    """Keys go to the locations that lack them without waiting for the next backup."""
    at = {place.location.pk: place for place in places}
    with leases.holding(leases.lease_name(stream), doing="keys", clock=vault.clock) as lease:
        refuse_ended(places, stream)
        owed = Copy.objects.filter(state=Copy.State.OWED, blob__stream=stream, blob__kind=Blob.Kind.KEY, blob__state=Blob.State.STORED)
        for copy in owed.filter(location__in=list(at)).select_related("blob"):
            place = at[copy.location_id]
            data = fetch([place, *(other for other in places if other is not place)], copy.blob.name, copy.blob.sha256)
            put_and_read_back(place.store, copy.blob.name, data, copy.blob.sha256)
            catalogue.mark_present(lease, place, [copy.blob_id], vault.clock())


def _of_stream(vault: Vault, stream: uuid.UUID, opener: KeyRing, numbers: Iterable[int], done: Wrapped) -> int:
    """How many of the stream's keys were wrapped anew and read back."""
    with leases.holding(leases.lease_name(stream), doing="keys", clock=vault.clock) as lease:
        shelves = _look(vault, stream)
        refuse_ended(shelves.places, stream)
        done.owed |= shelves.troubles.keys()
        leftovers.adopt(vault, shelves, stream, lease, [Blob.Kind.KEY])
        known = catalogue.inventory(stream, shelves.places, vault.clock()).keys
        wrapped = 0
        for number in set(numbers) & set(pending(opener.wrapping, stream).get(stream, [])):
            name = object_name(str(stream), "key", KeyName(number, opener.wrapping).ident)
            if Blob.objects.filter(name=name).exists():
                silent = ", ".join(sorted(shelves.troubles))
                done.left.append(f"{name} may lie at {silent}, which does not answer: it is settled when it does")
                continue
            key = of_catalogue(opener, shelves.places, known, number, shelves.notes)
            placed = store_wrapped(vault, shelves, stream, lease, key)
            catalogue.mark_placed(lease, placed, vault.clock())
            done.owed |= {place.name for place in shelves.places} - {place.name for place, _ in placed}
            wrapped += 1
    return wrapped


def _look(vault: Vault, stream: uuid.UUID) -> Shelves:
    """The stream's keys alone are listed: ten thousand customers' blobs would be hours."""
    listed, troubles, reachable = {}, {}, []
    for place in vault.places:
        try:
            listed[place.name] = {entry.name: entry.size for entry in place.store.list(f"keys/{stream}/")}
            reachable.append(place)
        except StoreError as problem:
            troubles[place.name] = str(problem)
    if not reachable:
        raise NoLocation("No location answers: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    in_force = catalogue.locations_in_force()
    down = {one.name: "it does not answer" for one in in_force if one.name not in listed}
    return catching_up.Shelves(tuple(reachable), listed, {**down, **troubles}, in_force)
