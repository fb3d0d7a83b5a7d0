"""A store in memory, for the simulation: it forgets everything, keeps the contract and can be made to fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Lock

from backups.stores.contract import (
    AlreadyThere,
    Entry,
    Leftover,
    Missing,
    StoreUnavailable,
    checked_digest,
    checked_name,
    checked_part,
    checked_prefix,
    checked_size,
    probe,
)


class MemoryStore:
    """`fail(operation, name)` is called before each operation and may raise; `down` makes every operation `StoreUnavailable`."""

    def __init__(self, url: str = "memory:") -> None:
        self.url = url
        self.objects: dict[str, bytes] = {}
        self.fail: Callable[[str, str], None] | None = None
        self.down = False
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({self.url!r})"

    def put(self, name: str, data: bytes) -> None:
        checked_size(checked_name(name), data)
        self._begin("put", name)
        with self._lock:
            if name in self.objects:
                raise AlreadyThere(f"{name} is taken at {self.url}")
            self.objects[name] = bytes(data)

    def put_back(self, name: str, data: bytes, sha256: str) -> None:
        checked_digest(checked_name(name), checked_size(name, data), sha256)
        self._begin("put_back", name)
        self.objects[name] = bytes(data)

    def get(self, name: str) -> bytes:
        self._begin("get", checked_name(name))
        return self._bytes(name)

    def read(self, name: str, start: int, length: int) -> bytes:
        checked_part(checked_name(name), start, length)
        self._begin("read", name)
        return self._bytes(name)[start : start + length]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        self._begin("list", checked_prefix(prefix))
        with self._lock:
            found = sorted((name, len(data)) for name, data in self.objects.items() if name.startswith(prefix))
        return (Entry(name, size) for name, size in found)

    def exists(self, name: str) -> bool:
        self._begin("exists", checked_name(name))
        return name in self.objects

    def remove(self, name: str) -> None:
        self._begin("remove", checked_name(name))
        with self._lock:
            self.objects.pop(name, None)

    def leftovers(self, prefix: str = "") -> Iterator[Leftover]:
        self._begin("leftovers", checked_prefix(prefix))
        return iter(())

    def remove_leftovers(self, prefix: str, older_than: datetime) -> int:
        self._begin("remove_leftovers", checked_prefix(prefix))
        return 0

    def check(self) -> None:
        self._begin("check", "")
        probe(self)

    def now(self) -> datetime:
        self._begin("now", "")
        return datetime.now(UTC)

    def _begin(self, operation: str, name: str) -> None:
        if self.down:
            raise StoreUnavailable(f"{self.url} is down: try again later")
        if self.fail:
            self.fail(operation, name)

    def _bytes(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise Missing(f"{name} is not at {self.url}") from None
