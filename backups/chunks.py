"""Cutting rows into chunks so that one inserted row changes one chunk, and packing chunks into blobs (pure; design section 5)."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

MAX_PLAIN_BYTES = 8 * 1024 * 1024
AVERAGE_ROWS = 4096
# What is gathered before it is cut: enough that a row costs little, little enough to hold.
BATCH_BYTES = 256 * 1024

_THRESHOLD = 2**64 // AVERAGE_ROWS
_MASK = 2**64 - 1
# Knuth's multiplicative digest: on keys given out in sequence its chunks are of nearly equal length, at a tenth of SHA-256's cost.
_MULTIPLIER = 0x9E3779B97F4A7C15
# Keys that lie closer than this are looked through by their ends, others one by one: whichever is less work.
_DENSE = 8


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that follow each other in the order of their keys: each line without its end, and the key of the one at a position."""

    lines: Sequence[bytes]
    key_of: Callable[[int], int | str]


@dataclass(frozen=True, slots=True)
class Joined:
    """Rows as in a batch, at least one, that came joined: their lines with `\\n` between them, and none of them but the last, which has the
    key `last`, ends a chunk. (Canonical JSON has no line break within a line.)"""

    text: bytes | memoryview
    rows: int
    last: int


@dataclass(frozen=True)
class Chunk:
    """A run of bytes of one part, in the pieces in which they came: joining them would cost more than compressing them (measured). `rows`
    counts the rows that end in it."""

    pieces: tuple[bytes | memoryview, ...]
    rows: int

    @classmethod
    def of(cls, data: bytes, rows: int) -> Chunk:
        return cls((data,), rows)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    @cached_property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    @cached_property
    def sha256(self) -> bytes:
        digest = hashlib.sha256()
        for piece in self.pieces:
            digest.update(piece)
        return digest.digest()


@dataclass(slots=True)
class Pack:
    """Chunks that become one blob, in order."""

    chunks: list[Chunk] = field(default_factory=list)
    size: int = 0

    def add(self, chunk: Chunk) -> int:
        """Appends the chunk; returns its offset in the blob's plain bytes."""
        offset = self.size
        self.chunks.append(chunk)
        self.size += chunk.size
        return offset

    def has_room(self, chunk: Chunk) -> bool:
        return self.size + chunk.size <= MAX_PLAIN_BYTES

    def pieces(self) -> list[bytes | memoryview]:
        return [piece for chunk in self.chunks for piece in chunk.pieces]


def ends_chunk(key: int | str) -> bool:
    """Whether a chunk ends after the row of that key: one key in 4,096 does, always the same ones, whatever stands around them."""
    if isinstance(key, int):
        return (key * _MULTIPLIER) & _MASK < _THRESHOLD
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") < _THRESHOLD


def next_end(key: int) -> int:
    """The smallest key from `key` on that ends a chunk."""
    begun = (key * _MULTIPLIER) & _MASK
    if begun < _THRESHOLD:
        return key
    return key + _steps_into(_MULTIPLIER, _MASK + 1, _MASK + 1 - begun, _MASK + _THRESHOLD - begun)


def _steps_into(step: int, modulus: int, low: int, high: int) -> int:
    """The smallest n with low <= n * step mod modulus <= high, by Euclid's algorithm, where there is one (0 <= low <= high < modulus)."""
    if low == 0:
        return 0
    if 2 * step > modulus:
        step, low, high = modulus - step, modulus - high, modulus - low
    steps = -(-low // step)
    if steps * step <= high:
        return steps
    rounds = _steps_into(-modulus % step, step, low % step, high % step)
    return -(-(low + modulus * rounds) // step)


def batched(rows: Iterable[tuple[int | str, bytes]]) -> Iterator[Batch]:
    """Rows as (key, line without its end), in the order of their keys, gathered."""
    keys: list[int | str] = []
    lines: list[bytes] = []
    size = 0
    for key, line in rows:
        keys.append(key)
        lines.append(line)
        size += len(line)
        if size >= BATCH_BYTES:
            yield Batch(lines, keys.__getitem__)
            keys, lines, size = [], [], 0
    if lines:
        yield Batch(lines, keys.__getitem__)


def cut(batches: Iterable[Batch | Joined]) -> Generator[Chunk, None, None]:
    """Rows as chunks of at most 8 MiB. Together the chunks are the lines, each with `\\n`. A row longer than a blob is cut through."""
    begun = _Begun()
    for batch in batches:
        if isinstance(batch, Joined):
            yield from begun.add_joined(batch)
            if ends_chunk(batch.last):
                yield from begun.finish()
            continue
        start = 0
        for end in _ends(batch):
            yield from begun.add(batch.lines[start:end])
            yield from begun.finish()
            start = end
        yield from begun.add(batch.lines[start:])
    yield from begun.finish()


def _ends(batch: Batch) -> Iterator[int]:
    """The positions after the rows that end a chunk."""
    count, key_of = len(batch.lines), batch.key_of
    first, last = key_of(0), key_of(count - 1)
    if not (isinstance(first, int) and isinstance(last, int)) or last - first > _DENSE * count:
        yield from (at + 1 for at in range(count) if ends_chunk(key_of(at)))
        return
    at = 0
    while at < count and (end := next_end(key_of(at))) <= last:  # type: ignore[arg-type]
        at = bisect_left(range(count), end, lo=at, key=key_of)  # type: ignore[arg-type]
        if at < count and key_of(at) == end:
            at += 1
            yield at


class _Begun:
    """The chunk that is being filled: `pieces` are its lines with their ends, `size` bytes together; `lines` come after these."""

    def __init__(self) -> None:
        self._empty()

    def _empty(self) -> None:
        self.pieces: list[bytes | memoryview] = []
        self.lines: list[bytes] = []
        self.rows = self.size = 0

    def add(self, lines: Sequence[bytes]) -> Iterator[Chunk]:
        """Appends the lines; yields the chunks that became full before."""
        added = sum(map(len, lines)) + len(lines)
        if self.size + added <= MAX_PLAIN_BYTES:
            self._append(lines, added)
            return
        for line in lines:
            if self.size + len(line) >= MAX_PLAIN_BYTES:
                yield from self.finish()
            self._append([line], len(line) + 1)

    def _append(self, lines: Sequence[bytes], size: int) -> None:
        self.lines += lines
        self.rows += len(lines)
        self.size += size

    def add_joined(self, joined: Joined) -> Iterator[Chunk]:
        """As `add`, without looking into it where it fits."""
        added = len(joined.text) + 1
        if self.size + added > MAX_PLAIN_BYTES:
            yield from self.add(bytes(joined.text).split(b"\n"))
            return
        self._join_lines()
        self.pieces += (joined.text, b"\n")
        self.rows += joined.rows
        self.size += added

    def _join_lines(self) -> None:
        if self.lines:
            self.lines.append(b"")
            self.pieces.append(b"\n".join(self.lines))
            self.lines = []

    def finish(self) -> Iterator[Chunk]:
        self._join_lines()
        chunk = Chunk(tuple(self.pieces), self.rows)
        self._empty()
        if chunk.size <= MAX_PLAIN_BYTES:
            yield from [chunk] if chunk.pieces else []
        else:  # one row
            yield from (Chunk.of(piece, piece.count(b"\n")) for piece in split(chunk.data))


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
            chunk, waiting = Chunk.of(bytes(waiting), 0), bytearray()
            yield chunk
        waiting += rest
    if waiting or not yielded:
        yield Chunk.of(bytes(waiting), 0)
