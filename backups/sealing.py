"""Compress, then encrypt, once; the same bytes go to every location (pure). zstd level 3, age with X25519 (design section 5).

`zstd -d` and `age -d` open what is sealed here; docs/format.md has the recipe.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import pyrage
import zstandard
from pyrage.x25519 import Identity, Recipient

LEVEL = 3


class NotOpened(Exception):
    """Sealed bytes that do not open: another key, altered, cut short, or not of the promised length."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """`data` is what is stored; `sha256` (hex) of it is the object's name and its proof, without a key."""

    data: bytes
    sha256: str
    plain_size: int


@dataclass(frozen=True, slots=True)
class StreamKey:
    """One customer's key: `number` counts from 1; losing `identity` everywhere is losing the data (which is how data is destroyed)."""

    number: int
    identity: Identity

    @classmethod
    def generate(cls, number: int) -> Self:
        return cls(number, Identity.generate())

    @classmethod
    def of_text(cls, number: int, text: str) -> Self:
        return cls(number, Identity.from_str(text))

    @property
    def recipient(self) -> Recipient:
        return self.identity.to_public()

    def digest(self, sha256: bytes) -> bytes:
        """A keyed digest (32 bytes) of a plain content's SHA-256: it finds equal contents and tells nobody else what they are."""
        return hmac.digest(hmac.digest(b"l2l chunk digest v1", str(self.identity).encode(), "sha256"), sha256, "sha256")


def seal(plain: bytes, recipient: Recipient) -> Sealed:
    """`plain` (at most a blob's worth, for it is held whole) compressed and encrypted."""
    return Sealer(recipient).seal([plain], len(plain))


class Sealer:
    """Seals one after another, in one thread, in the same memory: new memory for each costs almost as much as compressing (measured)."""

    def __init__(self, recipient: Recipient) -> None:
        self._recipient = recipient
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)
        self._memory = memoryview(bytearray())

    def seal(self, pieces: Sequence[bytes | memoryview], size: int) -> Sealed:
        """`size` plain bytes (at most a blob's worth), given in pieces, compressed and encrypted."""
        compressed = self._compressor.compress(pieces[0] if len(pieces) == 1 else self._joined(pieces, size))
        data = pyrage.encrypt(compressed, [self._recipient])
        return Sealed(data, hashlib.sha256(data).hexdigest(), size)

    def _joined(self, pieces: Sequence[bytes | memoryview], size: int) -> memoryview:
        if len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        at = 0
        for piece in pieces:
            self._memory[at : at + len(piece)] = piece
            at += len(piece)
        return self._memory[:at]


def unseal(data: bytes, identity: Identity, *, limit: int) -> bytes:
    """The plain bytes, at most `limit` of them; `NotOpened` when anything is wrong."""
    try:
        compressed = pyrage.decrypt(data, [identity])
        size = zstandard.frame_content_size(compressed)
        if not 0 <= size <= limit:
            raise NotOpened(f"the sealed content claims {size} bytes; at most {limit} are expected")
        plain = zstandard.ZstdDecompressor().decompress(compressed, max_output_size=max(size, 1))
    except (pyrage.DecryptError, zstandard.ZstdError) as problem:
        raise NotOpened(f"the sealed content does not open: {problem}") from None
    if len(plain) != size:
        raise NotOpened(f"the sealed content opens to {len(plain)} bytes instead of {size}")
    return plain
