"""A chain of digests: each link covers all before it, so that nothing in it can be altered, removed or inserted unseen (pure).

`leaf = sha256(salt || content)`: whoever does not know the content cannot guess it from the leaf, and the content may go while the chain
holds. `digest = sha256(digest before || number as 8 bytes || leaf)`. A chain proves nothing against someone who computes it anew from
some number on; the signed heads do (`audit.evidence`), from the next one on.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

SALT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Head:
    """The newest number and its digest (64 hex digits)."""

    number: int
    digest: str


START = Head(0, "0" * 64)


def leaf(salt: bytes, content: bytes) -> str:
    """The salted digest of one content; `ValueError` unless the salt has its 16 bytes (else the two could be cut elsewhere)."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"the salt has {len(salt)} bytes instead of {SALT_BYTES}")
    return hashlib.sha256(salt + content).hexdigest()


def change_content(model: str, written_at: str, row: bytes) -> bytes:
    """What a change's leaf covers, in three lines: its model (`app.model`), when it was written (as `audit.rows` writes a datetime) and the
    canonical JSON of its history row."""
    return b"\n".join((model.encode(), written_at.encode(), row))


def following(head: Head, of_leaf: str) -> Head:
    """The head after one more leaf."""
    number = head.number + 1
    return Head(number, hashlib.sha256(bytes.fromhex(head.digest) + number.to_bytes(8, "big") + bytes.fromhex(of_leaf)).hexdigest())


def misfit(before: Head, link: Head, of_leaf: str) -> str:
    """What does not fit when `link` is said to follow `before`; empty when all does."""
    if link.number != before.number + 1:
        first, last = before.number + 1, link.number - 1
        return f"number {first} is missing before it" if first == last else f"numbers {first} to {last} are missing before it"
    try:
        fits = following(before, of_leaf) == link
    except ValueError:
        return "its digest is none"
    return "" if fits else "its digest does not follow from the one before"
