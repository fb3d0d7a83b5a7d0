"""A set of blob ids as one compressed array of bytes (pure): sorted, as differences, each in 7-bit groups, then deflated."""

from __future__ import annotations

import zlib
from collections.abc import Iterable


def packed(ids: Iterable[int]) -> bytes:
    """The ids as bytes; about one byte and a half an id where they follow each other."""
    encoded, previous = bytearray(), 0
    for ident in sorted(set(ids)):
        step, previous = ident - previous, ident
        while step > 0x7F:
            encoded.append(step & 0x7F | 0x80)
            step >>= 7
        encoded.append(step)
    return zlib.compress(bytes(encoded), 6)


def unpacked(data: bytes) -> set[int]:
    """The ids; the inverse of `packed`. Empty bytes are no ids."""
    ids: set[int] = set()
    previous = step = shift = 0
    for byte in zlib.decompress(data) if data else b"":
        step |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            previous += step
            ids.add(previous)
            step = shift = 0
    return ids
