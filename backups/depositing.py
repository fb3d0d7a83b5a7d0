"""From chunks to stored blobs during one run: known chunks are reused, new ones packed, sealed, spooled and put at every place.

The caller's thread reads rows and talks to the database; one thread seals; each place has its own threads. A slow place holds
up nobody: sealed blobs wait for it in the spool, not in memory.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from backups import catalogue, spool
from backups.catalogue import Found, InForce
from backups.chunks import Chunk, Pack
from backups.errors import NoLocation
from backups.leases import Held
from backups.locations import Place
from backups.manifest import ChunkRef
from backups.models import BackupSet
from backups.placing import SMALL_BYTES, Errand, Lane, wait_a_moment
from backups.sealing import Sealed, Sealer, StreamKey
from backups.vault import Vault

SEALED_AHEAD = 1
# Copies recorded in one transaction; what a killed run had not recorded is read again by the next one.
RECORDED_TOGETHER = 8


@dataclass(slots=True)
class Slip:
    """Where a chunk will lie: the blob's digest is known once its pack is sealed, `chunk_id` once that is intended."""

    offset: int
    length: int
    sha256: str
    blob_sha256: str = ""
    chunk_id: int = 0

    @property
    def complete(self) -> bool:
        return bool(self.blob_sha256)

    def ref(self, rows: int) -> ChunkRef:
        return ChunkRef(self.blob_sha256, self.offset, self.length, self.sha256, rows)


@dataclass(slots=True)
class Filling:
    """The pack being filled, with the slips and digests of its chunks."""

    pack: Pack = field(default_factory=Pack)
    slips: list[Slip] = field(default_factory=list)


class Deposit:
    """One run's storing. Call `add` for each chunk, `seal_rest` at the end, then `finish`."""

    def __init__(
        self,
        vault: Vault,
        lanes: list[Lane],
        backup_set: BackupSet,
        key: StreamKey,
        lease: Held,
        *,
        usable: set[int],
        owed_to: Sequence[InForce],
        unrecorded: list[tuple[Place, list[int]]],
        threads: bool = True,
    ) -> None:
        self.vault, self.lanes, self.set, self.key, self.lease = vault, lanes, backup_set, key, lease
        self.usable = set(usable)
        self._earlier = bool(self.usable)
        self._stored = catalogue.stored_chunks(self.usable)
        self.owed_to = owed_to
        self.used: set[int] = set()
        self.new_bytes: dict[int, int] = {}
        self.spool = spool.folder_of(vault.spool, backup_set.stream_id, backup_set.id)
        self._filling = Filling()
        self._spooled: dict[int, Path] = {}
        self._waiting: dict[bytes, Slip] = {}
        self._unintended: list[tuple[Sealed, Filling]] = []
        self._sealing: deque[tuple[Filling, Future[Sealed]]] = deque()
        self._unrecorded = list(unrecorded)
        self._threads = threads
        self._sealer: ThreadPoolExecutor | None = None
        self._large: Sealer | None = None

    def add(self, chunk: Chunk) -> Slip:
        """Stores the chunk unless it is stored already; the slip is complete once its pack is sealed."""
        sha256 = chunk.sha256
        digest = self.key.digest(sha256)
        waiting = self._waiting.get(digest)
        if waiting is not None:
            return waiting
        found = self.find(digest) if self._may_be_stored(chunk) else None
        if found is not None:
            return self.reuse(found, sha256.hex())
        return self._pack(chunk, sha256, digest)

    def _may_be_stored(self, chunk: Chunk) -> bool:
        """Rows hold their keys, so only an earlier run can have stored the same ones; files may be equal in one run."""
        return self._earlier or not chunk.rows

    def find(self, digest: bytes) -> Found | None:
        """The stored chunk of that keyed digest, where there is one in a usable blob."""
        if self._stored is None:
            return catalogue.find_chunk(self.set.stream_id, digest, self.usable)
        return self._stored.get(digest)

    def reuse(self, found: Found, sha256: str = "") -> Slip:
        """The slip for a chunk that is stored already."""
        self.used.add(found.blob_id)
        return Slip(found.offset, found.length, sha256, found.blob_sha256, found.chunk_id)

    def reuse_all(self, chunk_ids: Iterable[int]) -> list[Slip] | None:
        """Slips for chunks that are stored already, in their order; None when one of them no longer is."""
        found = catalogue.chunks_by_id(list(chunk_ids), self.usable)
        if found is None:
            return None
        return [self.reuse(one) for one in found]

    def _pack(self, chunk: Chunk, sha256: bytes, digest: bytes) -> Slip:
        if not self._filling.pack.has_room(chunk):
            self.seal_pack()
        slip = Slip(self._filling.pack.add(chunk), chunk.size, sha256.hex())
        self._filling.slips.append(slip)
        self._waiting[digest] = slip
        return slip

    def seal_pack(self) -> None:
        """Hands the pack over to the sealing thread and takes back what that has finished."""
        filling, self._filling = self._filling, Filling()
        if filling.pack.chunks:
            self._sealing.append((filling, self._sealed_soon(filling.pack)))
        while len(self._sealing) > SEALED_AHEAD or (self._sealing and self._sealing[0][1].done()):
            self._take_sealed()
        self.attend()

    def _sealed_soon(self, pack: Pack) -> Future[Sealed]:
        if self._threads and pack.size > SMALL_BYTES:
            self._sealer = self._sealer or ThreadPoolExecutor(1, thread_name_prefix="seal")
            self._large = self._large or Sealer(self.key.recipient)
            return self._sealer.submit(_sealed, self._large, pack)
        future: Future[Sealed] = Future()
        future.set_result(_sealed(Sealer(self.key.recipient), pack))
        return future

    def _take_sealed(self) -> None:
        filling, future = self._sealing.popleft()
        sealed = future.result()
        for slip in filling.slips:
            slip.blob_sha256 = sealed.sha256
        self._unintended.append((sealed, filling))
        if sum(one.pack.size for _, one in self._unintended) > SMALL_BYTES:
            self.intend()

    def intend(self) -> None:
        """Writes the intents of what is sealed, and sends it to the places. What is small waits for it, in memory, for more to come."""
        packs, self._unintended = self._unintended, []
        paths = [self._spool(sealed) if filling.pack.size > SMALL_BYTES else None for sealed, filling in packs]
        sealed_packs = [(sealed, filling.pack) for sealed, filling in packs]
        intended = catalogue.intend_packs(self.lease, self.set, sealed_packs, self.key, self.owed_to) if packs else []
        for (sealed, filling), path, (blob, rows) in zip(packs, paths, intended, strict=True):
            for slip, row in zip(filling.slips, rows, strict=True):
                slip.chunk_id = row.id
                self._waiting.pop(bytes(row.digest), None)
                self._hold(bytes(row.digest), Found(row.id, blob.id, sealed.sha256, row.offset, row.length))
            self.used.add(blob.id)
            self.usable.add(blob.id)
            self.new_bytes[blob.id] = blob.size
            if path is not None:
                self._spooled[blob.id] = path
            self.place(Errand(blob.id, blob.name, sealed.sha256, path=path, given=sealed.data if path is None else None))

    def _hold(self, digest: bytes, chunk: Found) -> None:
        """Keeps it with the stored ones, until they are too many to be held: then the catalogue is asked for each."""
        if self._stored is not None:
            self._stored[digest] = chunk
            if len(self._stored) > catalogue.FEW_CHUNKS:
                self._stored = None

    def _spool(self, sealed: Sealed) -> Path:
        self.spool.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.spool / sealed.sha256
        path.write_bytes(sealed.data)
        return path

    def place(self, errand: Errand) -> None:
        """Sends the object to every place that still works."""
        for lane in self.lanes:
            lane.submit(errand)

    def attend(self) -> None:
        """Notices what the lanes have placed since the last look, records it once it is enough, and keeps the lease."""
        self.lease.keep()
        self._unrecorded += [(lane.place, new) for lane in self.lanes if (new := lane.newly_placed())]
        if sum(len(ids) for _, ids in self._unrecorded) >= RECORDED_TOGETHER:
            self.record()
        for blob_id in [one for one in self._spooled if all(lane.trouble or one in lane.placed for lane in self.lanes)]:
            self._spooled.pop(blob_id).unlink()

    def record(self) -> None:
        """Records what was placed and is not recorded yet; with the caller's transaction, where there is one of the lease."""
        self._unrecorded += [(lane.place, new) for lane in self.lanes if (new := lane.newly_placed())]
        if self._unrecorded:
            catalogue.mark_placed(self.lease, self._unrecorded, self.vault.clock())
        self._unrecorded = []

    def seal_rest(self) -> None:
        """Every slip says after it where its chunk lies; it has a `chunk_id` after `intend` only."""
        self.seal_pack()
        while self._sealing:
            self._take_sealed()

    def finish(self) -> None:
        """Waits until each lane has placed everything or given up; what was placed is still to be recorded. Raises `NoLocation` when all
        of them gave up."""
        self.intend()
        while any(lane.busy for lane in self.lanes):
            wait_a_moment(self.lanes)
            self.attend()
        self.attend()
        if all(lane.trouble for lane in self.lanes):
            self.record()
            raise NoLocation("; ".join(f"{lane.place.name}: {lane.trouble}" for lane in self.lanes))

    def close(self) -> None:
        if self._sealer is not None:
            self._sealer.shutdown(wait=True, cancel_futures=True)
        for lane in self.lanes:
            lane.close()
        shutil.rmtree(self.spool, ignore_errors=True)


def _sealed(sealer: Sealer, pack: Pack) -> Sealed:
    return sealer.seal(pack.pieces(), pack.size)
