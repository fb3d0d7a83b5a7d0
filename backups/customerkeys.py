"""Each stream's own key: an age identity that stands only at the locations, wrapped for the master keys (design section 5).

It is in no database, no set and no dump, so that destroying it at every location destroys what it sealed. A key keeps its number for ever
and may be wrapped several times: `keys/<stream>/<n>.age` is its first wrapping, `keys/<stream>/<n>-<wrapping>.age` a later one. The newest
wrapping counts; an older one is tried when that cannot be had.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator

import pyrage

from backups import catalogue
from backups.catalogue import Inventory
from backups.catching_up import Shelves
from backups.errors import KeysMissing, NoLocation, NowhereWhole, StreamEnded
from backups.keyfiles import KeyRing
from backups.keynames import KeyName, key_name, newest_first, wrappings_of
from backups.leases import Held, fenced
from backups.locations import Place
from backups.manifest import object_name
from backups.models import Blob
from backups.placing import fetch, put_and_read_back
from backups.sealing import StreamKey
from backups.stores.contract import Missing, StoreError
from backups.vault import Vault
from subscriptions.ending.states import PAST_RETURN
from subscriptions.models import DeletionRequest


def newest_key(
    vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, found: Inventory
) -> tuple[StreamKey, list[tuple[Place, list[int]]]]:
    """The stream's newest key that the shelves' places can give; a new one when there is none, for one location down stops nothing.

    With it come the copies of a new one, by place, which the caller records. Raises `StreamEnded`, `NoLocation`, `KeysMissing`. A key that
    could not be had is noted: its sets need the place that has it.
    """
    for number in sorted({key_name(name).number for name, _ in found.keys}, reverse=True):
        try:
            return of_catalogue(vault.keys, shelves.places, found.keys, number, shelves.notes), []
        except NowhereWhole as problem:
            shelves.notes.append(f"{problem} Another key is used for this set.")
    return make_key(vault, shelves, stream, lease, found)


def of_catalogue(
    keys: KeyRing, places: Iterable[Place], known: Iterable[tuple[str, str]], number: int, notes: list[str] | None = None
) -> StreamKey:
    """The key of that number, from the newest of its wrappings that the places can give. `known` are names and digests of wrapped keys.

    Raises `NowhereWhole` when none can be had, and `KeysMissing` when what can be had does not open.
    """
    places, trouble = tuple(places), NowhereWhole(f"No key {number} is known.")
    unopened: KeysMissing | None = None
    for name, sha256 in sorted(known, key=lambda one: newest_first(one[0])):
        if key_name(name).number != number:
            continue
        try:
            return StreamKey.of_text(number, keys.unwrap(fetch(places, name, sha256, notes)))
        except NowhereWhole as problem:
            trouble = problem
        except KeysMissing as problem:
            unopened = unopened or problem
    raise unopened or trouble


def key_at(keys: KeyRing, places: Iterable[Place], stream: str, number: int, notes: list[str]) -> StreamKey:
    """The stream's key of that number from the first place that has one which opens; without the database.

    What was wrong at the places before it goes to `notes`. Raises `KeysMissing` when keys were found and none opens, `NoLocation` else.
    """
    troubles, unopened = [], None
    for place in places:
        try:
            key = _key_there(keys, place, stream, number)
        except (StoreError, KeysMissing) as problem:
            troubles.append(f"{place.name}: {problem}")
            unopened = problem if isinstance(problem, KeysMissing) else unopened
        else:
            notes += [f"The customer's key was taken from {place.name}, for {trouble}" for trouble in troubles]
            return key
    raise unopened or NoLocation(f"No location gives the key {object_name(stream, 'key', str(number))}: {'; '.join(troubles)}.")


def _key_there(keys: KeyRing, place: Place, stream: str, number: int) -> StreamKey:
    """From the newest wrapping that opens at that place. Raises what the first one that was tried raised."""
    first: StoreError | KeysMissing | None = None
    for name in _wrappings_there(place, stream, number, keys.wrapping):
        try:
            return StreamKey.of_text(number, keys.unwrap(place.store.get(name)))
        except (StoreError, KeysMissing) as problem:
            first = first or problem
    raise first or Missing(f"{place.store.url} has no key {number} of {stream}.")


def _wrappings_there(place: Place, stream: str, number: int, in_force: int) -> Iterator[str]:
    """What is asked for first needs no listing: the wrapping in force, which after a rotation every key has."""
    expected = object_name(stream, "key", KeyName(number, in_force).ident)
    yield expected
    listed = (entry.name for entry in place.store.list(f"keys/{stream}/"))
    yield from (name for name in wrappings_of(listed, number) if name != expected)


def make_key(
    vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, found: Inventory
) -> tuple[StreamKey, list[tuple[Place, list[int]]]]:
    """A new key under the next number, and its copies by place, which the caller records. Raises as `newest_key` does."""
    refuse_destroyed(stream)
    refuse_ended(shelves.places, stream)
    used = [key_name(name).number for names in (found.names, *shelves.listed.values()) for name in names if name.startswith("keys/")]
    key = StreamKey.generate(max(used, default=0) + 1)
    return key, store_wrapped(vault, shelves, stream, lease, key)


def store_wrapped(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, key: StreamKey) -> list[tuple[Place, list[int]]]:
    """Wraps the key for all who are in force now and puts it at the places; returns its copies by place, which the caller records.

    Raises `NoLocation` when no place takes it.
    """
    blob, wrapped = _intended(vault, shelves, stream, lease, key)
    placed, troubles = [], []
    for place in shelves.places:
        try:
            put_and_read_back(place.store, blob.name, wrapped, blob.sha256)
            placed.append((place, [blob.id]))
        except StoreError as problem:
            troubles.append(f"{place.name}: {problem}")
    if not placed:
        raise NoLocation(f"The customer's new key could not be stored anywhere: {'; '.join(troubles)}.")
    return placed


def _intended(vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, key: StreamKey) -> tuple[Blob, bytes]:
    """Another ring that came into force meanwhile is noticed before the intent is committed: nothing new is for former masters alone."""
    while True:
        ring = vault.keys.now()
        wrapped = ring.wrap(key.identity)
        blob = catalogue.unstored(stream, "key", KeyName(key.number, ring.wrapping).ident, wrapped)
        _check_opens(ring, wrapped, key)
        with fenced(lease):
            if vault.keys.now().wrapping == ring.wrapping:
                catalogue.intend(lease, [blob], shelves.in_force)
                return blob, wrapped


def _check_opens(ring: KeyRing, wrapped: bytes, key: StreamKey) -> None:
    """`KeysMissing` unless the online master opens what is about to be stored, and as many recipients are named in it as must be. (Whose
    they are, age tells nobody but them.)"""
    opened = pyrage.decrypt(wrapped, [ring.master]).decode()
    if opened != str(key.identity) or wrapped.count(b"\n-> X25519 ") != len(ring.recipients):
        raise KeysMissing("A key was wrapped otherwise than the key ring says; it was not stored.")


def refuse_destroyed(stream: uuid.UUID) -> None:
    """By this database's own word: a location that was down may not have the marker yet."""
    if DeletionRequest.objects.filter(customer=stream, state__in=[one.value for one in PAST_RETURN]).exists():
        raise StreamEnded("This customer is being destroyed, or was. Nothing of it may be stored again.")


def refuse_ended(places: Iterable[Place], stream: uuid.UUID) -> None:
    """A destroyed customer's data and keys are never made again."""
    for place in places:
        if place.store.exists(f"ended/{stream}.json"):
            raise StreamEnded(f"{place.name} says that customer {stream} was destroyed. Nothing of it may be stored again.")
