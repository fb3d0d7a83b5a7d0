"""Cutting rows into chunks so that one inserted row changes one chunk, and packing chunks into blobs (pure; design section 5)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

MAX_PLAIN_BYTES = 8 * 1024 * 1024
AVERAGE_ROWS = 4096

_THRESHOLD = 2**64 // AVERAGE_ROWS
_MASK = 2**64 - 1
# Knuth's multiplicative digest: on keys given out in sequence its chunks are of nearly equal length, at a tenth of SHA-256's cost.
_MULTIPLIER = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Chunk:
    """A run of bytes of one part; `rows` counts the rows that end in it."""

    data: bytes
    rows: int

    @property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data).digest()


@dataclass(slots=True)
class Pack:
    """Chunks that become one blob, in order."""

    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0

    def add(self, chunk: Chunk) -> int:
        """Appends the chunk; returns its offset in the blob's plain bytes."""
        offset = self.size
        self.chunks.append(chunk)
        self.size += len(chunk.data)
        return offset

    def has_room(self, chunk: Chunk) -> bool:
        return self.size + len(chunk.data) <= MAX_PLAIN_BYTES

    def plain(self) -> bytes:
        return b"".join(chunk.data for chunk in self.chunks)


def ends_chunk(key: int | str) -> bool:
    """Whether a chunk ends after the row of that key: one key in 4,096 does, always the same ones, whatever stands around them."""
    if isinstance(key, int):
        return (key * _MULTIPLIER) & _MASK < _THRESHOLD
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") < _THRESHOLD


def cut(rows: Iterable[tuple[int | str, bytes]]) -> Iterator[Chunk]:
    """Rows as (key, line without its end), in the order of their keys, as chunks of at most 8 MiB.

    Together the chunks are the lines, each with `\\n`. A row longer than a blob is cut through.
    """
    lines: list[bytes] = []
    size = 0
    for key, line in rows:
        if size + len(line) >= MAX_PLAIN_BYTES and lines:
            yield from _joined(lines)
            lines, size = [], 0
        lines.append(line)
        size += len(line) + 1
        if ends_chunk(key):
            yield from _joined(lines)
            lines, size = [], 0
    if lines:
        yield from _joined(lines)


def _joined(lines: list[bytes]) -> Iterator[Chunk]:
    lines.append(b"")
    data = b"\n".join(lines)
    if len(data) <= MAX_PLAIN_BYTES:
        yield Chunk(data, len(lines) - 1)
        return
    for piece in split(data):
        yield Chunk(piece, piece.count(b"\n"))


def split(data: bytes) -> Iterator[bytes]:
    """`data` in pieces of 8 MiB, the last one shorter."""
    for start in range(0, len(data), MAX_PLAIN_BYTES):
        yield data[start : start + MAX_PLAIN_BYTES]


def cut_file(pieces: Iterable[bytes]) -> Iterator[Chunk]:
    """A file's bytes, given in pieces of any size, as chunks of 8 MiB; an empty file is one empty chunk."""
    waiting = bytearray()
    yielded = False
    for piece in pieces:
        rest = memoryview(piece)
        while len(waiting) + len(rest) >= MAX_PLAIN_BYTES:
            taken = MAX_PLAIN_BYTES - len(waiting)
            waiting += rest[:taken]
            rest, yielded = rest[taken:], True
            chunk, waiting = Chunk(bytes(waiting), 0), bytearray()
            yield chunk
        waiting += rest
    if waiting or not yielded:
        yield Chunk(bytes(waiting), 0)
