"""The file lane: the bytes of a new upload are stored beside the row lane, so that a large one holds no row up (design section 4).

A thread reads and seals; the shipper writes the intents, and its lanes place the blobs. Once every location that answers has all blobs of a
file, an entry in the stream's next section says where they lie. Whatever a killed shipper left half done is done again from the start.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from django.core.exceptions import SuspiciousOperation
from django.core.files.storage import Storage

from audit import registry
from audit.files import read_stored
from backups.chunks import Chunk, Pack, cut_file
from backups.models import HotFile
from backups.sealing import Sealed, Sealer, StreamKey

logger = logging.getLogger(__name__)

SEALED_AHEAD = 2
BATCH_FILES = 200


@dataclass(frozen=True, slots=True)
class Piece:
    """A chunk of a file in a sealed pack: `offset` in the blob's plain bytes."""

    file: int
    offset: int
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class SealedPack:
    """A blob that is still to be intended and placed."""

    stream: uuid.UUID
    key: StreamKey
    sealed: Sealed
    pack: Pack
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """All of the file was read: as its row says (`whole`), or the upload storage has lost or changed it; None: the storage does not
    answer."""

    file: int
    whole: bool | None


class Reading:
    """Some files of one stream, read and sealed in a thread; at most two sealed packs wait for the shipper."""

    def __init__(self, files: Sequence[HotFile], key: StreamKey) -> None:
        self.stream = files[0].stream_id
        self.ids = [one.pk for one in files]
        self._key, self._files = key, list(files)
        self._out: queue.Queue[SealedPack | Finished | Exception | None] = queue.Queue(SEALED_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hot-files", daemon=True)
        self._thread.start()
        self.over = False

    def taken(self) -> Iterator[SealedPack | Finished]:
        """What is ready now, in order. Raises what the reading raised."""
        while not self.over:
            try:
                one = self._out.get_nowait()
            except queue.Empty:
                return
            if one is None:
                self.over = True
            elif isinstance(one, Exception):
                self.over = True
                raise one
            else:
                yield one

    def stop(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        try:
            for one in _sealed(self._files, self._key):
                self._give(one)
            self._give(None)
        except Exception as problem:  # noqa: BLE001  (raised again where it is taken)
            self._give(problem)

    def _give(self, one: SealedPack | Finished | Exception | None) -> None:
        while not self._stop.is_set():
            try:
                self._out.put(one, timeout=0.2)
            except queue.Full:
                continue
            return


@dataclass(slots=True)
class _Filling:
    pack: Pack = field(default_factory=Pack)
    pieces: list[Piece] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)


def _sealed(files: Iterable[HotFile], key: StreamKey) -> Iterator[SealedPack | Finished]:
    sealer, filling = Sealer(key.recipient), _Filling()
    for one in files:
        sha256, size = hashlib.sha256(), 0
        whole: bool | None = True
        try:
            for chunk in cut_file(read_stored(_storage(one), one.name)):
                if not filling.pack.has_room(chunk):
                    yield from _closed(filling, one.stream_id, key, sealer)
                    filling = _Filling()
                for piece in chunk.pieces:
                    sha256.update(piece)
                size += chunk.size
                filling.pieces.append(Piece(one.pk, filling.pack.add(chunk), chunk))
            whole = (sha256.hexdigest(), size) == (one.sha256, one.size)
        except FileNotFoundError:
            whole = False
        except (OSError, SuspiciousOperation) as problem:  # one file that cannot be read now holds up no other
            logger.warning("The upload %s cannot be read yet: %s", one.name, problem)
            whole = None
        filling.finished.append(Finished(one.pk, whole))
    yield from _closed(filling, one.stream_id, key, sealer)


def _closed(filling: _Filling, stream: uuid.UUID, key: StreamKey, sealer: Sealer) -> Iterator[SealedPack | Finished]:
    if filling.pieces:
        sealed = sealer.seal(filling.pack.pieces(), filling.pack.size)
        yield SealedPack(stream, key, sealed, filling.pack, tuple(filling.pieces))
    yield from filling.finished


def _storage(one: HotFile) -> Storage:
    protected = registry.by_label(one.model)
    assert protected is not None
    return next(field.storage for field in protected.files if field.attname == one.field)
