"""One location's writing by the shipper, beside the other locations': what is slow or down holds up nobody else. No database here.

A lane takes errands in order and says what it has placed and read back. At the first trouble it drops what it had not begun: all that is
owed to its location then, and is put there oldest first once it answers again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from backups.hot.segments import BadSegment, read
from backups.locations import Place
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import AlreadyThere, Damaged, Missing, StoreError, StoreRefused, StoreUnavailable

# Bytes that may wait for one location in memory; beyond that they are owed, and fetched from another location later.
MOST_WAITING = 64 * 1024 * 1024
AT_ONCE = 2
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
# An object that a location cannot take is tried again after so many seconds.
LATER = 60.0

logger = logging.getLogger(__name__)


class WentBack(Exception):
    """A location has another segment under our name: this database knows less than it should."""


@dataclass(frozen=True, slots=True)
class Errand:
    """An object to be put. `key` is the caller's for it; without `data` the bytes are taken from the first of `sources` that has them."""

    key: tuple[str, int]
    name: str
    sha256: str
    size: int
    data: bytes | None = None
    sources: Sequence[Place] = ()


@dataclass(frozen=True, slots=True)
class Placed:
    """It was read back whole at that place; `at` is the monotonic clock then."""

    place: Place
    key: tuple[str, int]
    at: float


@dataclass(slots=True)
class Lane:
    """`behind`: its location is owed something, so nothing new is handed to it before that. `lost` are errands whose bytes no source
    has."""

    place: Place
    trusted: str
    behind: bool = False
    trouble: str = ""
    went_back: str = ""
    lost: list[Errand] = field(default_factory=list)
    refused: dict[tuple[str, int], float] = field(default_factory=dict)
    _waiting: int = 0
    _pause: float = FIRST_PAUSE
    _again_at: float = 0.0
    _futures: deque[tuple[Errand, Future[float | None]]] = field(default_factory=deque)
    _executor: ThreadPoolExecutor | None = None

    @property
    def busy(self) -> bool:
        return bool(self._futures)

    def holds(self, key: tuple[str, int]) -> bool:
        """Whether that errand is under way."""
        return any(errand.key == key for errand, _ in self._futures)

    @property
    def resting(self) -> bool:
        """Whether it is too early to try again."""
        return bool(self.trouble) and (self.busy or time.monotonic() < self._again_at)

    def submit(self, errand: Errand) -> None:
        """Something new; it stays owed when the lane is behind, or falls behind by it."""
        if self.busy and self._waiting + errand.size > MOST_WAITING:
            self.behind = True
        if not self.behind:
            self.bring(errand)

    def bring(self, errand: Errand) -> None:
        """Something that is owed."""
        self._executor = self._executor or ThreadPoolExecutor(AT_ONCE, thread_name_prefix=f"hot-{self.place.name}")
        self._waiting += errand.size
        self._futures.append((errand, self._executor.submit(self._run, errand)))

    def try_again(self) -> None:
        self.trouble = ""

    def rest(self, why: str) -> None:
        """Its location is in trouble, says the caller."""
        self._in_trouble(why)

    def take_again(self) -> bool:
        """Forgets refusals that are over; whether there were any."""
        over = [key for key in self.refused if not self.refuses(key)]
        for key in over:
            del self.refused[key]
        return bool(over)

    def placed(self) -> list[Placed]:
        """What was placed since the last look."""
        found, still = [], deque[tuple[Errand, Future[float | None]]]()
        for errand, future in self._futures:
            if not future.done():
                still.append((errand, future))
                continue
            self._waiting -= errand.size
            at = future.result()
            if at is not None:
                found.append(Placed(self.place, errand.key, at))
                self._pause = FIRST_PAUSE
        self._futures = still
        return found

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, errand: Errand) -> float | None:
        if self.trouble or self.went_back:
            return None
        try:
            data = errand.data if errand.data is not None else self._found(errand)
            if data is None:
                return None
            self._put(errand, data)
        except (StoreUnavailable, StoreRefused) as problem:
            self._in_trouble(str(problem))
            return None
        except StoreError as problem:
            self.refuse(errand, str(problem))
            return None
        except WentBack as problem:
            self.went_back = str(problem)
            return None
        return time.monotonic()

    def refuse(self, errand: Errand, why: str) -> None:
        """One object of one customer that cannot be put holds up neither the location nor anybody else; segments are everybody's."""
        if errand.key[0] == "segment":
            self._in_trouble(why)
        else:
            self.refused[errand.key] = time.monotonic() + LATER
            logger.warning("%s cannot be put at %s: %s", errand.name, self.place.name, why)

    def refuses(self, key: tuple[str, int]) -> bool:
        """Whether that object could not be put, a while ago."""
        return time.monotonic() < self.refused.get(key, 0.0)

    def _in_trouble(self, why: str) -> None:
        self.trouble, self.behind = why, True
        self._again_at = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _put(self, errand: Errand, data: bytes) -> None:
        kind, _ = errand.key
        if kind == "segment":
            put_segment(self.place, errand.name, data, errand.sha256, self.trusted)
        else:
            put_and_read_back(self.place.store, errand.name, data, errand.sha256)

    def _found(self, errand: Errand) -> bytes | None:
        """The bytes from a source; None when it is owed still. `lost` only when every source could say that it has them not."""
        told = True
        for place in (self.place, *errand.sources):
            try:
                data = place.store.get(errand.name)
            except Missing:
                continue
            except StoreError:
                if place is self.place:
                    raise
                told = False
                continue
            if sha256_of(data) == errand.sha256:
                return data
        if not told:
            raise StoreUnavailable(f"{errand.name} is owed, and the location that has it does not answer")
        self.lost.append(errand)
        return None


def put_segment(place: Place, name: str, data: bytes, sha256: str, trusted: str) -> None:
    """After it the place holds exactly these bytes. What is damaged there is put back; a whole segment that is another one is
    `WentBack`."""
    try:
        place.store.put(name, data)
    except AlreadyThere:
        there = _there(place.store.get, name)
        if there is None or (sha256_of(there) != sha256 and not _is_segment(there, trusted)):
            place.store.put_back(name, data, sha256)
        elif sha256_of(there) != sha256:
            raise WentBack(f"{place.name} holds another segment as {name}") from None
    if sha256_of(place.store.get(name)) != sha256:
        raise Damaged(f"{place.name} gave {name} back otherwise than it was stored. Check that disk or server.")


def _there(get: Callable[[str], bytes], name: str) -> bytes | None:
    try:
        return get(name)
    except Missing:  # a server that was killed in the middle of a put lists what it does not have
        return None


def _is_segment(data: bytes, trusted: str) -> bool:
    try:
        read(data, trusted)
    except BadSegment:
        return False
    return True
