"""What lies at one location under the customer's two folders goes, in every version with markers and unfinished uploads, as it is listed
there: envelopes first, then bodies, then the rest; keys by a step of their own (design section 9)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import transaction

from backups.destroy.inventory import key_folder
from backups.leases import Held
from backups.locations import Place
from backups.manifest import stream_folder
from subscriptions import holds

TOGETHER = 100


def remove_objects(place: Place, stream: uuid.UUID, lease: Held) -> tuple[int, int]:
    """How many names and bytes went. Raises `OnHold`, `LeaseLost` and what the store raises."""
    return _remove(place, stream_folder(str(stream)), stream, lease)


def remove_keys(place: Place, stream: uuid.UUID, lease: Held) -> tuple[int, int]:
    """The same for every wrapping of every key."""
    return _remove(place, key_folder(stream), stream, lease)


def objects_left(place: Place, stream: uuid.UUID) -> list[str]:
    return _left(place, stream_folder(str(stream)))


def keys_left(place: Place, stream: uuid.UUID) -> list[str]:
    return _left(place, key_folder(stream))


def _remove(place: Place, folder: str, stream: uuid.UUID, lease: Held) -> tuple[int, int]:
    sizes = {}
    for one in place.store.list(folder):
        lease.keep()
        sizes[one.name] = one.size
    names = _in_order({*sizes, *(one.name for one in place.store.leftovers(folder))}, folder)
    for at, name in enumerate(names):
        if not name.startswith(folder):
            raise AssertionError(f"{name} is not below {folder}")
        lease.keep()
        if at % TOGETHER == 0:
            _refuse_held(stream)
        place.store.remove(name)
    return len(names), sum(sizes.values())


def _refuse_held(stream: uuid.UUID) -> None:
    with transaction.atomic():
        holds.refuse_held(stream)


def _in_order(names: Iterable[str], folder: str) -> list[str]:
    sets = f"{folder}sets/"

    def rank(name: str) -> tuple[int, str]:
        if not name.startswith(sets):
            return 2, name
        return (0 if name.endswith(".json") else 1), name

    return sorted(names, key=rank)


def _left(place: Place, folder: str) -> list[str]:
    """What a fresh look still shows, in any version."""
    found = {one.name for one in place.store.list(folder)} | {one.name for one in place.store.leftovers(folder)}
    return [f"{name} is still listed at {place.name}" for name in sorted(found)]
