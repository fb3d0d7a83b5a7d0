"""Putting objects at locations, several at a time, each read back before it counts (design section 5). No database here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backups.errors import NowhereWhole
from backups.locations import Place
from backups.stores.contract import AlreadyThere, Damaged, Missing, Store, StoreError

WORKERS = 2
# A folder takes no more than this sooner than a thread is handed it.
SMALL_BYTES = 256 * 1024


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put_and_read_back(store: Store, name: str, data: bytes, sha256: str, *, aside: Callable[[bytes], None] | None = None) -> None:
    """After it the store holds exactly these bytes. What stands there already is kept when it is right and put back when it is not;
    `aside` is given the wrong bytes before.

    A name may be taken and give nothing: a server killed in the middle of a put can list what it never stored (seen on Ceph 16), and a
    disk may have a sector that cannot be read. Then it is put back too; a store that is out of reach refuses that as well.
    """
    try:
        store.put(name, data)
    except AlreadyThere:
        there = _given(store, name)
        if there is not None and sha256_of(there) == sha256:
            return
        if there is not None and aside is not None:
            aside(there)
        del there
        store.put_back(name, data, sha256)
    del data  # reading it back needs as much memory again
    if sha256_of(store.get(name)) != sha256:
        raise Damaged(f"{store.url} gave {name} back otherwise than it was stored. Check that disk or server.")


def _given(store: Store, name: str) -> bytes | None:
    try:
        return store.get(name)
    except StoreError:
        return None


def fetch(places: Iterable[Place], name: str, sha256: str, notes: list[str] | None = None) -> bytes:
    """The object's bytes from the first place that has it whole; what was wrong at the others goes to `notes`.

    Raises `NowhereWhole`, which lists what was found where.
    """
    return fetch_from(places, name, sha256, notes)[0]


def fetch_from(places: Iterable[Place], name: str, sha256: str, notes: list[str] | None = None) -> tuple[bytes, Place]:
    """As `fetch`, with the place that had it."""
    found: list[str] = []
    for place in places:
        try:
            data = place.store.get(name)
            if sha256_of(data) == sha256:
                if found and notes is not None:
                    notes.append(f"{'; '.join(found)}: taken from {place.name} instead")
                return data, place
            found.append(f"{name} is damaged at {place.name}")
        except Missing:
            found.append(f"{name} is missing at {place.name}")
        except StoreError as problem:
            found.append(f"{name} could not be read at {place.name} ({problem})")
    raise NowhereWhole(f"No location has {name} whole: {'; '.join(found) or 'no location was asked'}.")


@dataclass(frozen=True, slots=True)
class Errand:
    """One object to be put: its bytes lie in `path` or are given."""

    blob_id: int
    name: str
    sha256: str
    path: Path | None = None
    given: bytes | None = None

    @property
    def small(self) -> bool:
        return self.given is not None and len(self.given) <= SMALL_BYTES

    def data(self) -> bytes:
        return self.given if self.given is not None else self.path.read_bytes()  # type: ignore[union-attr]


class Lane:
    """One place's uploads during one run. At the first trouble the lane stops; what it misses stays owed.

    What is small goes to a folder at once, in the caller's thread; with `workers` 0 everything goes so everywhere (for the simulation).
    """

    def __init__(self, place: Place, workers: int = WORKERS) -> None:
        self.place = place
        self.trouble = ""
        self.placed: set[int] = set()
        self._new: list[int] = []
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None
        self._futures: set[Future[int | None]] = set()

    def submit(self, errand: Errand) -> None:
        if not self._workers or (self.place.near and errand.small):
            self._finished(self._run(errand))
        else:
            self._futures.add(self._threads().submit(self._run, errand))

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix=f"place-{self.place.name}")
        return self._executor

    def _run(self, errand: Errand) -> int | None:
        if self.trouble:
            return None
        try:
            put_and_read_back(self.place.store, errand.name, errand.data(), errand.sha256)
        except StoreError as problem:
            self.trouble = str(problem)
            return None
        return errand.blob_id

    def _finished(self, blob_id: int | None) -> None:
        if blob_id is not None:
            self._new.append(blob_id)

    def newly_placed(self) -> list[int]:
        """The ids placed and read back since the last call."""
        done = {future for future in self._futures if future.done()}
        self._futures -= done
        for future in done:
            self._finished(future.result())
        new, self._new = self._new, []
        self.placed.update(new)
        return new

    @property
    def busy(self) -> bool:
        return bool(self._futures)

    def futures(self) -> set[Future[Any]]:
        return self._futures

    def close(self) -> None:
        """Forgets what has not begun; waits for what has."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def wait_a_moment(lanes: Iterable[Lane], seconds: float = 5.0) -> None:
    """Returns when all lanes have finished everything, or after `seconds`: what is done by then can be recorded together."""
    futures = {future for lane in lanes for future in lane.futures()}
    if futures:
        wait(futures, timeout=seconds)
