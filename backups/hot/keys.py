"""The streams' keys for the shipper: each is fetched once from a location and held in memory, the way in which a set gets it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from django.db import DatabaseError, connection

from backups import catalogue, catching_up, leases
from backups.customerkeys import newest_key, of_catalogue, refuse_destroyed, refuse_ended
from backups.errors import BackupError, Busy, NoLocation, StreamEnded
from backups.keynames import key_name
from backups.locations import Place
from backups.models import Blob, Copy
from backups.sealing import StreamKey
from backups.stores.contract import StoreError
from backups.vault import Vault

# A key that was rotated, or a customer that ended, is noticed after this many seconds.
HELD_FOR = 600.0
AGAIN_AFTER, SOON = 2.0, 0.2


class Keys:
    """`held` gives what is in memory; what is asked for comes by a thread of its own, for ten thousand keys take minutes and nobody else's
    changes wait for them. `troubles` says for which stream no key could be had, and why."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.troubles: dict[uuid.UUID, str] = {}
        self._held: dict[uuid.UUID, tuple[StreamKey, float]] = {}
        self._again_at: dict[uuid.UUID, float] = {}
        self._asked: set[uuid.UUID] = set()
        self.owed_to: set[int] = set()  # locations that lack a key, and cannot be read alone before they have it
        self._executor: ThreadPoolExecutor | None = None
        self._closing = False

    def held(self, stream: uuid.UUID) -> StreamKey | None:
        """The key, if it is in memory."""
        found = self._held.get(stream)
        return found[0] if found else None

    def _fresh(self, stream: uuid.UUID) -> bool:
        found = self._held.get(stream)
        return found is not None and time.monotonic() - found[1] < HELD_FOR

    @property
    def awaited(self) -> frozenset[uuid.UUID]:
        """The streams that have no key yet; it is on its way."""
        return frozenset(stream for stream in list(self._asked) if stream not in self._held)

    def ask(self, streams: Iterable[uuid.UUID]) -> None:
        """What is not held will be, soon: fetched, or made where a stream has none."""
        for stream in streams:
            if not self._fresh(stream) and stream not in self._asked and time.monotonic() >= self._again_at.get(stream, 0.0):
                self._asked.add(stream)
                self._executor = self._executor or ThreadPoolExecutor(1, thread_name_prefix="hot-keys")
                self._executor.submit(self._get, stream)

    def forget(self, streams: Iterable[uuid.UUID]) -> None:
        """Keys of destroyed customers are in no memory of ours, and not asked for again."""
        for stream in streams:
            self._held.pop(stream, None)

    def get(self, stream: uuid.UUID) -> StreamKey:
        """The key, fetched now. Raises `BackupError`, `StoreError`."""
        refuse_destroyed(stream)
        key = self._fetched(stream) or self._made(stream)
        self._held[stream] = key, time.monotonic()
        return key

    def close(self) -> None:
        self._closing = True
        if self._executor is not None:
            self._executor.submit(_close_connection)
            self._executor.shutdown(wait=True)

    def _get(self, stream: uuid.UUID) -> None:
        if self._closing:
            return
        try:
            self.get(stream)
            self.troubles.pop(stream, None)
        except StreamEnded as ended:
            self.troubles[stream] = str(ended)
            self._held.pop(stream, None)
        except (BackupError, StoreError, DatabaseError) as problem:
            self.troubles[stream] = str(problem)
            self._again_at[stream] = time.monotonic() + (SOON if isinstance(problem, Busy) else AGAIN_AFTER)
            if isinstance(problem, DatabaseError):
                connection.close()
        finally:
            self._asked.discard(stream)

    def _fetched(self, stream: uuid.UUID) -> StreamKey | None:
        copies = Copy.objects.filter(blob__stream=stream, blob__kind=Blob.Kind.KEY, blob__state=Blob.State.STORED)
        known = list(copies.values_list("blob__name", "blob__sha256", "location", "state"))
        number = max((key_name(name).number for name, _, _, state in known if state == Copy.State.PRESENT), default=0)
        if not number:
            return None
        places, _ = self.vault.usable()
        self._refuse_ended(places, stream)
        wrappings = [one for one in known if key_name(one[0]).number == number]
        there = {location for _, _, location, state in wrappings if state == Copy.State.PRESENT}
        self.owed_to |= {location for _, _, location, _ in wrappings} - there
        return of_catalogue(self.vault.keys, places, {(name, sha256) for name, sha256, _, _ in wrappings}, number)

    def _refuse_ended(self, places: Iterable[Place], stream: uuid.UUID) -> None:
        """By the word of each place that answers: the marker stands at all of them, and one that is down stops nothing."""
        troubles, asked = [], 0
        for place in places:
            try:
                refuse_ended([place], stream)
                asked += 1
            except StoreError as problem:
                troubles.append(f"{place.name}: {problem}")
        if not asked:
            raise NoLocation("No location answers: " + "; ".join(troubles))

    def _made(self, stream: uuid.UUID) -> StreamKey:
        """Under the stream's own lease: a backup that is making the key, or the set, goes first (`Busy`)."""
        clock = self.vault.clock
        with leases.holding(leases.lease_name(stream), doing=leases.MAKING_KEY, clock=clock) as lease:
            places, _ = self.vault.usable()
            shelves = catching_up.look(places, stream)
            found = catalogue.inventory(stream, shelves.places, clock())
            key, unrecorded = newest_key(self.vault, shelves, stream, lease, found)
            catalogue.mark_placed(lease, unrecorded, clock())
            if unrecorded:
                self.owed_to |= {one.pk for one in shelves.in_force} - {place.location.pk for place, _ in unrecorded}
        return key


def _close_connection() -> None:
    """Of the thread that calls it."""
    connection.close()
