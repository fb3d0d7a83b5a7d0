"""What is live already, compared by reference and digest in little memory: about 170 bytes a row, however long rows and references are."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator

DIGEST_BYTES = 32
# 15 bytes are the most that fit Python's 48-byte object; 120 bits keep any two references apart.
_KEY_BYTES = 15


def digest(text: str) -> bytes:
    """32 bytes that stand for a row's content."""
    return hashlib.blake2b(text.encode(), digest_size=DIGEST_BYTES).digest()


class LiveRows:
    """Each reference has a place; a place has the primary key and digest of the live row, and the line of the file that has it."""

    def __init__(self, rows: Iterable[tuple[int, str, bytes]] = ()) -> None:
        self._places: dict[bytes, int] = {}
        self._keys, self._lines, self._digests = array("q"), array("q"), bytearray()
        for key, reference, content in rows:
            self._add(_short(reference), key, content)

    def place(self, reference: str) -> int:
        """The reference's place; a new one when no live row has it."""
        short = _short(reference)
        found = self._places.get(short)
        return self._add(short, 0, bytes(DIGEST_BYTES)) if found is None else found

    def seen(self, place: int, line: int) -> int:
        """Notes that the file has it on this line; the line on which the file had it before, or 0."""
        before = self._lines[place]
        self._lines[place] = before or line
        return before

    def key(self, place: int) -> int:
        """The primary key of the live row; 0 when there is none."""
        return self._keys[place]

    def is_same(self, place: int, content: bytes) -> bool:
        """Whether there is a live row with this digest."""
        start = place * DIGEST_BYTES
        return bool(self._keys[place]) and self._digests[start : start + DIGEST_BYTES] == content

    def unseen(self) -> Iterator[int]:
        """The primary keys of the live rows that the file does not have."""
        return (key for key, line in zip(self._keys, self._lines, strict=True) if key and not line)

    def _add(self, short: bytes, key: int, content: bytes) -> int:
        place = self._places[short] = len(self._keys)
        self._keys.append(key)
        self._lines.append(0)
        self._digests += content
        return place


def _short(reference: str) -> bytes:
    return hashlib.blake2b(reference.encode(), digest_size=_KEY_BYTES).digest()
