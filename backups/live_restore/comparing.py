"""What a restore would change: wanted rows against live rows (pure: no Django, no clock, no settings)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from backups.errors import TooMuchDiffers

# A row's primary key as its canonical JSON has it, and that canonical JSON.
Line = tuple[Any, bytes]

MAX_ROWS = 20_000
MAX_BYTES = 64 * 1024 * 1024
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that would change: `before` as it is live, `after` as it is wanted; None where it is not there."""

    key: Any
    before: bytes | None
    after: bytes | None

    @property
    def digests(self) -> list[Any]:
        """What an approval covers: the key, and the SHA-256 of both texts."""
        return [self.key, _sha256(self.before), _sha256(self.after)]


@dataclass(frozen=True, slots=True)
class Compared:
    """One model's rows, in the order of their keys. `wanted` counts all rows that the state has, the unchanged ones too."""

    added: tuple[RowChange, ...]
    changed: tuple[RowChange, ...]
    removed: tuple[RowChange, ...]
    wanted: int

    @property
    def all(self) -> tuple[RowChange, ...]:
        return (*self.added, *self.changed, *self.removed)

    @property
    def counts(self) -> list[int]:
        """Added, changed, removed."""
        return [len(self.added), len(self.changed), len(self.removed)]


class Allowance:
    """How much may differ in all, over every model. `take` raises `TooMuchDiffers`."""

    def __init__(self, rows: int = MAX_ROWS, size: int = MAX_BYTES) -> None:
        self.rows, self.size = rows, size
        self._rows = self._size = 0

    def take(self, rows: int = 0, texts: Iterable[bytes | None] = ()) -> None:
        self._rows += rows
        self._size += sum(len(text or b"") for text in texts)
        if self._rows > self.rows or self._size > self.size:
            raise TooMuchDiffers(
                f"More than {self.rows:,} rows, or {self.size // 1024**2} MiB of them, differ from that state: too much to be written "
                "while everybody waits. Restore it to a folder (restore --to FOLDER) and import from there, or restore one model at a time."
            )


def compare(live: Iterable[Line], wanted: Callable[[], Iterable[Line]], allowance: Allowance) -> Compared:
    """What would have to change so that the live rows become the wanted ones. About 150 bytes of memory for each wanted row.

    `wanted` gives the same rows each time: it is read once for digests, and again for the texts when something differs.
    """
    digests = {key: _short(line) for key, line in wanted()}
    count = len(digests)
    before: dict[Any, bytes] = {}
    removed: list[RowChange] = []
    for key, line in live:
        digest = digests.pop(key, None)
        if digest is None:
            allowance.take(1, (line,))
            removed.append(RowChange(key, line, None))
        elif digest != _short(line):
            allowance.take(1, (line,))
            before[key] = line
    allowance.take(len(digests))
    differing = _texts(wanted, before.keys() | digests.keys(), allowance)
    return Compared(
        added=_ordered(RowChange(key, None, differing[key]) for key in digests),
        changed=_ordered(RowChange(key, line, differing[key]) for key, line in before.items()),
        removed=_ordered(removed),
        wanted=count,
    )


def digest_of_changes(changes: Iterable[RowChange]) -> str:
    """SHA-256 over what the changes are."""
    sha256 = hashlib.sha256()
    for change in changes:
        sha256.update(repr(change.digests).encode() + b"\n")
    return sha256.hexdigest()


def _texts(wanted: Callable[[], Iterable[Line]], keys: set[Any], allowance: Allowance) -> dict[Any, bytes]:
    found: dict[Any, bytes] = {}
    for key, line in wanted() if keys else ():
        if key in keys:
            allowance.take(texts=(line,))
            found[key] = line
    return found


def _ordered(changes: Iterable[RowChange]) -> tuple[RowChange, ...]:
    return tuple(sorted(changes, key=lambda change: change.key))


def _short(line: bytes) -> bytes:
    return hashlib.blake2b(line, digest_size=_DIGEST_BYTES).digest()


def _sha256(text: bytes | None) -> str | None:
    return None if text is None else hashlib.sha256(text).hexdigest()
