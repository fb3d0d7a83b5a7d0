"""The streams' keys for the shipper: each is fetched once from a location and held in memory, the way in which a set gets it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from backups import catalogue, catching_up, leases
from backups.customerkeys import newest_key, refuse_ended
from backups.errors import BackupError, Busy, NoLocation
from backups.locations import Place
from backups.models import Blob, Copy
from backups.placing import fetch
from backups.sealing import StreamKey
from backups.stores.contract import StoreError
from backups.vault import Vault

# A key that was rotated, or a customer that ended, is noticed after this many seconds.
HELD_FOR = 600.0
AGAIN_AFTER = 2.0


@dataclass(slots=True)
class Keys:
    """`troubles` says for which stream no key could be had, and why; those wait, and hold nobody else up."""

    vault: Vault
    troubles: dict[uuid.UUID, str] = field(default_factory=dict)
    _held: dict[uuid.UUID, tuple[StreamKey, float]] = field(default_factory=dict)
    _again_at: dict[uuid.UUID, float] = field(default_factory=dict)

    def held(self, stream: uuid.UUID) -> StreamKey | None:
        """The key, if it is in memory."""
        found = self._held.get(stream)
        return found[0] if found and time.monotonic() - found[1] < HELD_FOR else None

    def get(self, streams: Iterable[uuid.UUID]) -> None:
        """Fetches what is not held; makes the first key of a stream that has none."""
        for stream in streams:
            if self.held(stream) is None and time.monotonic() >= self._again_at.get(stream, 0.0):
                self._get(stream)

    def _get(self, stream: uuid.UUID) -> None:
        try:
            self._held[stream] = self._fetched(stream) or self._made(stream), time.monotonic()
            self.troubles.pop(stream, None)
        except (BackupError, StoreError) as problem:
            self.troubles[stream] = str(problem)
            self._again_at[stream] = time.monotonic() + (0.2 if isinstance(problem, Busy) else AGAIN_AFTER)

    def _fetched(self, stream: uuid.UUID) -> StreamKey | None:
        stored = Blob.objects.filter(stream=stream, kind=Blob.Kind.KEY, copies__state=Copy.State.PRESENT).order_by("-id").first()
        if stored is None:
            return None
        places, _ = self.vault.usable()
        self._refuse_ended(places, stream)
        number = int(stored.name.rpartition("/")[2].removesuffix(".age"))
        return StreamKey.of_text(number, self.vault.keys.unwrap(fetch(places, stored.name, stored.sha256)))

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
        with leases.holding(leases.lease_name(stream), doing="key", clock=clock) as lease:
            places, _ = self.vault.usable()
            shelves = catching_up.look(places, stream)
            found = catalogue.inventory(stream, shelves.places, clock())
            key, unrecorded = newest_key(self.vault, shelves, stream, lease, found)
            catalogue.mark_placed(lease, unrecorded, clock())
        return key
