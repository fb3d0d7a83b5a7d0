"""Each stream's own key: an age identity that stands only at the locations, wrapped for the master keys (design section 5).

It is in no database, no set and no dump, so that destroying it at every location destroys what it sealed.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from backups import catalogue
from backups.catalogue import Inventory
from backups.catching_up import Shelves
from backups.errors import KeysMissing, NoLocation, NowhereWhole, StreamEnded
from backups.keyfiles import KeyRing
from backups.leases import Held
from backups.locations import Place
from backups.manifest import object_name
from backups.placing import fetch, put_and_read_back
from backups.sealing import StreamKey
from backups.stores.contract import StoreError
from backups.vault import Vault


def newest_key(
    vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, found: Inventory
) -> tuple[StreamKey, list[tuple[Place, list[int]]]]:
    """The stream's newest key that the shelves' places can give; a new one when there is none, for one location down stops nothing.

    With it come the copies of a new one, by place, which the caller records. Raises `StreamEnded`, `NoLocation`, `KeysMissing`. A key that
    could not be had is noted: its sets need the place that has it.
    """
    for name, sha256 in found.keys:
        try:
            return StreamKey.of_text(_number(name), vault.keys.unwrap(fetch(shelves.places, name, sha256, shelves.notes))), []
        except NowhereWhole as problem:
            shelves.notes.append(f"{problem} Another key is used for this set.")
    return _make_key(vault, shelves, stream, lease, found)


def key_at(keys: KeyRing, places: Iterable[Place], stream: str, number: int, notes: list[str]) -> StreamKey:
    """The stream's key of that number from the first place that has one which opens; without the database.

    What was wrong at the places before it goes to `notes`. Raises `KeysMissing` when keys were found and none opens, `NoLocation` else.
    """
    troubles, unopened = [], None
    name = object_name(stream, "key", str(number))
    for place in places:
        try:
            key = StreamKey.of_text(number, keys.unwrap(place.store.get(name)))
        except (StoreError, KeysMissing) as problem:
            troubles.append(f"{place.name}: {problem}")
            unopened = problem if isinstance(problem, KeysMissing) else unopened
        else:
            notes += [f"The customer's key was taken from {place.name}, for {trouble}" for trouble in troubles]
            return key
    raise unopened or NoLocation(f"No location gives the key {name}: {'; '.join(troubles)}.")


def _make_key(
    vault: Vault, shelves: Shelves, stream: uuid.UUID, lease: Held, found: Inventory
) -> tuple[StreamKey, list[tuple[Place, list[int]]]]:
    refuse_ended(shelves.places, stream)
    used = [_number(name) for names in (found.names, *shelves.listed.values()) for name in names]
    key = StreamKey.generate(max(used, default=0) + 1)
    wrapped = vault.keys.wrap(key.identity)
    blob = catalogue.unstored(stream, "key", str(key.number), wrapped)
    catalogue.intend(lease, [blob], shelves.in_force)
    placed, troubles = [], []
    for place in shelves.places:
        try:
            put_and_read_back(place.store, blob.name, wrapped, blob.sha256)
            placed.append((place, [blob.id]))
        except StoreError as problem:
            troubles.append(f"{place.name}: {problem}")
    if not placed:
        raise NoLocation(f"The customer's new key could not be stored anywhere: {'; '.join(troubles)}.")
    return key, placed


def refuse_ended(places: Iterable[Place], stream: uuid.UUID) -> None:
    """A destroyed customer's data and keys are never made again."""
    for place in places:
        if place.store.exists(f"ended/{stream}.json"):
            raise StreamEnded(f"{place.name} says that customer {stream} was destroyed. Nothing of it may be stored again.")


def _number(name: str) -> int:
    found = re.search(r"^keys/.*/(\d+)\.age$", name)
    return int(found[1]) if found else 0
