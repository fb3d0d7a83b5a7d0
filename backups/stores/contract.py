"""What every store promises, in prose first.

A store keeps immutable objects under names. It knows nothing of customers, sets or keys, and nothing of Django.

Names are relative paths of one or more parts joined by `/`, 1 to 200 bytes in all: each part is of ASCII letters, digits, `.`, `_`
and `-`, and does not begin with `.` (a store keeps its own hidden things there). Anything else is a `BadName` before the store is
touched. No name is the folder of another (`a` beside `a/b`): the callers' layout sees to it, for a folder cannot hold both and answers
`BadName`. What others put at a location under names outside the alphabet is neither shown nor touched. Objects hold at most 64 MiB
(a blob holds 8 MiB of plain text, so its stored bytes are little more).

* `put` stores bytes under a name that holds nothing yet. After it returns, the bytes survive a crash of this machine and of
  the store (folder: file and folder are fsynced; S3: the answer 200 with a checked MD5). It never overwrites: a name that is
  taken is `AlreadyThere`, whoever won (a retry may meet its own first try, whose answer was lost), and the bytes that were there first
  are untouched and as durable as if this `put` had stored them. A `put` that raised or was killed leaves either nothing under that
  name or the whole object, never a part of it.
* `put_back` is the one replacement allowed: it puts the identical bytes (the caller knows their SHA-256) where the object is
  damaged or gone. It refuses bytes of another digest (`Damaged`) before writing. Readers see the old bytes or the new, never a mixture.
* `get` returns the whole object, `read(name, start, length)` a part of it, shorter where the object ends and empty past its end;
  `Missing` where there is none. The bytes are what the store holds now, not what a cache remembers; their digest is the caller's to check.
* `list(prefix)` yields `Entry(name, size)` in the order of the names, for every whole object whose name starts with `prefix`;
  `prefix` is empty or ends with `/`, else `BadName` (`customers/acme` would also find `customers/acme2`). It is
  complete for all that was put before it began, in bounded memory. Only of a `put` that never returned, and whose server died, may
  it show what `get` does not have (seen on Ceph 16); there `put` says `AlreadyThere`, and `put_back` makes it whole.
* `exists` tells whether a whole object is there.
* `remove` removes the object in all its versions with every marker and unfinished upload of that name. Removing what is not there
  is no error. It returns only when a fresh look no longer finds it; else `StillThere`.
* `leftovers(prefix)` yields what listing hides and somebody pays for: unfinished uploads, temporary files, noncurrent versions,
  delete markers. `remove_leftovers(prefix, older_than)` removes those that began before that moment (an aware datetime) and returns how
  many; whenever it stops, it has brought nothing back into sight.
* `check` proves that the store can be used now, by using it (`probe`); it raises what is wrong.
* `now` is what the store's own clock says, as an aware datetime: whoever removes by age holds it against this machine's.

Failures are of two kinds, and the caller decides by the kind. `StoreUnavailable` is transient: the location is down, slow, unmounted
or asks us to wait; trying again later is right and nothing is known about the object. `StoreRefused` is permanent until a person
acts: wrong credentials, no permission, no space, no such bucket. Each message says what to do. A store retries what its
protocol calls safe to retry, a bounded number of times (under 60 s in all), and then raises.

Stores are safe to use from several threads at once. They open connections lazily (after a fork) and keep them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import uuid4

MAX_OBJECT_BYTES = 64 * 1024 * 1024
MAX_NAME_BYTES = 200
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")


class StoreError(Exception):
    """Anything a store raises. The message names the object and says what to do."""


class BadName(StoreError):
    """A name or prefix outside the alphabet of names: a mistake in our code, not in the store."""


class AlreadyThere(StoreError):
    """The name is taken; nothing was written."""


class Missing(StoreError):
    """There is no whole object of that name."""


class Damaged(StoreError):
    """Bytes that are not what their digest says."""


class StillThere(StoreError):
    """A removal after which the store still shows the object."""


class StoreUnavailable(StoreError):
    """Transient: the location cannot be reached now. Try again later; what it misses is owed to it."""


class StoreRefused(StoreError):
    """Permanent until a person acts: credentials, permissions, space, configuration."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One whole object: its name and the number of stored bytes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a listing hides: `kind` is `temporary`, `upload`, `version` or `marker`; `ident` is the store's own handle."""

    name: str
    kind: str
    since: datetime
    ident: str = ""


class Store(Protocol):
    """The contract above; `url` is how the location was named, without any secret."""

    url: str

    def put(self, name: str, data: bytes) -> None: ...

    def put_back(self, name: str, data: bytes, sha256: str) -> None: ...

    def get(self, name: str) -> bytes: ...

    def read(self, name: str, start: int, length: int) -> bytes: ...

    def list(self, prefix: str = "") -> Iterator[Entry]: ...

    def exists(self, name: str) -> bool: ...

    def remove(self, name: str) -> None: ...

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]: ...

    def remove_leftovers(self, prefix: str, older_than: datetime) -> int: ...

    def check(self) -> None: ...

    def now(self) -> datetime: ...


def is_name(name: str) -> bool:
    """Whether `name` is within the alphabet and length of names."""
    return len(name) <= MAX_NAME_BYTES and _NAME.fullmatch(name) is not None


def checked_name(name: str) -> str:
    """`name` itself when it is one; `BadName` else."""
    if not is_name(name):
        raise BadName(f"{name!r} is not a name for a stored object")
    return name


def checked_prefix(prefix: str) -> str:
    """`prefix` when it is empty or a name and a `/`; `BadName` else."""
    if prefix and not (prefix.endswith("/") and is_name(prefix[:-1])):
        raise BadName(f"{prefix!r} is not a prefix: it must be empty or end with '/'")
    return prefix


def checked_size(name: str, data: bytes) -> bytes:
    """`data` when one object may hold it; `BadName` else, for it is a mistake in our code."""
    if len(data) > MAX_OBJECT_BYTES:
        raise BadName(f"{name} would hold {len(data)} bytes; an object holds at most {MAX_OBJECT_BYTES}")
    return data


def checked_part(name: str, start: int, length: int) -> None:
    """`BadName` where `start` or `length` is negative, for it is a mistake in our code."""
    if start < 0 or length < 0:
        raise BadName(f"{name} has no part of {length} bytes from {start}")


def checked_digest(name: str, data: bytes, sha256: str) -> bytes:
    """`data` when its SHA-256 (hexadecimal, lower case) is `sha256`; `Damaged` else."""
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise Damaged(f"{name} should have the SHA-256 {sha256}, these bytes have {found}: mend it from another copy")
    return data


def probe(store: Store) -> None:
    """Use `store` as we always do, on an object of its own under `probe/` that is gone afterwards; raise what is wrong.

    `StoreRefused` where the store overwrites: some servers that speak S3 ignore `If-None-Match` and say nothing.
    """
    name = f"probe/{uuid4().hex}"
    try:
        _put_only_once(store, name)
        _find_again(store, name)
    except StoreError:
        with suppress(StoreError):
            store.remove(name)
        raise
    store.remove(name)


def _put_only_once(store: Store, name: str) -> None:
    store.put(name, b"first")
    with suppress(AlreadyThere):
        store.put(name, b"second")
        raise StoreRefused(f"{store.url} overwrites what it holds (it ignores 'only if absent'): choose a store that does not")


def _find_again(store: Store, name: str) -> None:
    if store.get(name) != b"first":
        raise StoreRefused(f"{store.url} gives back other bytes than it was given: choose another store")
    if Entry(name, len(b"first")) not in store.list("probe/"):
        raise StoreRefused(f"{store.url} does not list what it holds: choose another store")
