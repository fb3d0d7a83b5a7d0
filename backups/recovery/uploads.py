"""The bytes of a stream's files back in the upload storage, under the names that its rows have."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.files.storage import Storage

from audit import registry
from audit.files import UploadsUnavailable, digest_of_pieces, folder_of, put_back, read_stored
from backups.errors import NowhereWhole
from backups.manifest import BadManifest
from backups.recovery.sources import Newest


@dataclass(frozen=True, slots=True)
class PlacedFile:
    """A file that is back: its SHA-256 (hex), and its pieces as (blob, offset, length, SHA-256 of the piece)."""

    sha256: str
    pieces: tuple[tuple[str, int, int, bytes], ...]


@dataclass(slots=True)
class PutBack:
    """What became of the files. `absent` were in no backup, `damaged` are nowhere whole: names as the storage has them."""

    files: list[PlacedFile] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def put_all_back(stream: uuid.UUID, newest: Newest, spool: Path, tell: Callable[[str], None], *, accept: bool) -> PutBack:
    """Every file that the reader names, but for those that are there already with the same bytes. With `accept` a file that no location has
    whole is left out. Raises `NowhereWhole`, `BadManifest`, `UploadsUnavailable`."""
    done = PutBack()
    for storage, entry in _entries(stream, newest):
        name = entry["name"]
        if entry.get("absent") or not name.startswith(f"{folder_of(stream)}/") or ".." in name:
            done.absent.append(name)
            continue
        try:
            done.files.append(_put(storage, entry, newest, spool))
        except (NowhereWhole, BadManifest):
            if not accept:
                raise
            done.damaged.append(name)
        tell(f"{len(done.files):,} files")
    return done


def _entries(stream: uuid.UUID, newest: Newest) -> Iterator[tuple[Storage, dict[str, Any]]]:
    """Each file once, with its storage: a model's parts of files come in the order of its fields."""
    fields = {one.label: iter(one.files) for one in registry.of_stream(stream)}
    for part in newest.reader.parts:
        if part.what == "files":
            storage = next(fields[part.model]).storage
            for line in newest.reader.lines(part):
                yield storage, json.loads(line)


def _put(storage: Storage, entry: dict[str, Any], newest: Newest, spool: Path) -> PlacedFile:
    name, sha256, size, parts = entry["name"], entry["sha256"], entry["size"], entry["parts"]
    digests = [hashlib.sha256() for _ in parts]
    if storage.exists(name):
        if digest_of_pieces(read_stored(storage, name)) != (sha256, size):
            raise UploadsUnavailable(f"The upload storage has other bytes under the name {name}: move them away, and run it again.")
        content = _read_in_parts(storage, name, [length for _, _, length in parts])
        for digest, piece in zip(digests, content if len(parts) > 1 else (), strict=False):
            digest.update(piece)
    else:

        def pieces() -> Iterator[bytes]:
            for digest, part in zip(digests, parts, strict=True):
                for piece in newest.reader.file_pieces([part]):
                    digest.update(piece)
                    yield piece

        put_back(storage, name, pieces(), sha256=sha256, size=size, spool=spool)
    if len(parts) == 1:
        return PlacedFile(sha256, ((*parts[0], bytes.fromhex(sha256)),))
    return PlacedFile(sha256, tuple((*part, digest.digest()) for part, digest in zip(parts, digests, strict=True)))


def _read_in_parts(storage: Storage, name: str, lengths: Sequence[int]) -> Iterator[bytes]:
    """The stored file, cut where its pieces were."""
    buffer, wanted = bytearray(), list(lengths)
    for data in read_stored(storage, name):
        buffer += data
        while wanted and len(buffer) >= wanted[0]:
            length = wanted.pop(0)
            yield bytes(buffer[:length])
            del buffer[:length]
