"""The suppression list: keyed digests of purged items and files, kept in the system stream and obeyed wherever content leaves a backup.

An item is called by its model and primary key, a file by its stored name, each digested with a key of the customer's own: the list tells
nobody what was purged, and nothing at all once the customer's keys are destroyed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from audit import canonical
from audit.registry import SYSTEM_STREAM
from backups import customerkeys, idset
from backups.errors import KeysMissing, NoLocation
from backups.keyfiles import KeyRing
from backups.keynames import key_name
from backups.locations import Place
from backups.models import Purge
from backups.sealing import StreamKey
from backups.stores.contract import StoreError

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Entries:
    """One purge's part of the list, as its row has it."""

    key_number: int
    models: frozenset[str]
    newest_history: int
    digests: bytes
    numbers: bytes


@dataclass(frozen=True, slots=True)
class Digester:
    """Makes the list's digests (16 bytes, BLAKE2b) with a secret derived from the customer's key of that number."""

    number: int
    secret: bytes

    @classmethod
    def of(cls, key: StreamKey) -> Self:
        return cls(key.number, key.digest(hashlib.sha256(b"l2l suppression list v1").digest()))

    def item(self, model: str, primary_key: Any) -> bytes:
        """Stands for an object; `primary_key` as canonical JSON has it."""
        return self._digest(b"item", model.encode(), canonical.dump_bytes(primary_key))

    def file(self, name: str) -> bytes:
        """Stands for a stored file."""
        return self._digest(b"file", name.encode())

    def _digest(self, *words: bytes) -> bytes:
        return hashlib.blake2b(b"\0".join(words), key=self.secret, digest_size=DIGEST_BYTES).digest()


@dataclass(frozen=True, slots=True)
class SuppressionList:
    """What of one customer never comes out again: the digests, each with the newest version (`history_id`) that went, by the key that they
    were made with; the changes that lost their content; and the models of which there is anything."""

    digests: Sequence[tuple[Digester, Mapping[bytes, int]]]
    numbers: frozenset[int]
    models: frozenset[str]

    def gone_up_to(self, model: str, key: Any) -> int | None:
        """Up to which version (`history_id`) the object went; None when it did not. Later ones are of an object made anew under its key,
        which is the primary key as canonical JSON has it."""
        found = [known.get(one.item(model, key)) for one, known in self.digests]
        return max((up_to for up_to in found if up_to is not None), default=None)

    def has_file(self, name: str) -> bool:
        return any(one.file(name) in known for one, known in self.digests)


def joined(digests: Iterable[bytes]) -> bytes:
    """As a purge keeps them; sorted, so that their order tells nothing."""
    return b"".join(sorted(digests))


def recorded(stream: uuid.UUID) -> list[Entries]:
    """What this database says of the customer."""
    if stream == SYSTEM_STREAM:
        return []
    purges = Purge.objects.filter(customer=stream).order_by("id")
    return [
        Entries(one.key_number, frozenset(one.counts), one.newest_history, bytes(one.digests), bytes(one.numbers))
        for one in purges.iterator(chunk_size=50)
    ]


def opened(entries: Sequence[Entries], keys: KeyRing, places: Sequence[Place], stream: uuid.UUID, notes: list[str]) -> SuppressionList:
    """The list, ready to be asked. Raises `KeysMissing` when a key that it was made with cannot be had: then nothing is given out."""
    digests = []
    for number in sorted({one.key_number for one in entries}):
        try:
            key = customerkeys.key_at(keys, places, str(stream), number, notes)
        except (KeysMissing, NoLocation) as problem:
            raise KeysMissing(
                "Some content of this customer was purged and must not come back, and the list of it cannot be read without a key: "
                f"{problem} Bring back a location that has it."
            ) from None
        made_with_it = sorted((one for one in entries if one.key_number == number), key=lambda one: one.newest_history)
        digests.append((Digester.of(key), {digest: one.newest_history for one in made_with_it for digest in _cut(one.digests)}))
    numbers = frozenset(number for one in entries for number in idset.unpacked(one.numbers))
    return SuppressionList(tuple(digests), numbers, frozenset(model for one in entries for model in one.models))


def digester_for(keys: KeyRing, places: Sequence[Place], stream: uuid.UUID) -> Digester:
    """With the customer's key that most of the places have, the newest of those. Raises `KeysMissing`, `NoLocation`."""
    held: dict[int, int] = {}
    for place in places:
        for number in _numbers_at(place, stream):
            held[number] = held.get(number, 0) + 1
    if not held:
        raise KeysMissing("No location has a key of this customer: back it up first, then nothing is purged that no list would keep away.")
    number = max(held, key=lambda one: (held[one], one))
    return Digester.of(customerkeys.key_at(keys, places, str(stream), number, []))


def _numbers_at(place: Place, stream: uuid.UUID) -> set[int]:
    try:
        return {key_name(entry.name).number for entry in place.store.list(f"keys/{stream}/")} - {0}
    except StoreError:
        return set()


def _cut(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES))
