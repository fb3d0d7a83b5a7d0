"""One object is read where it should be, and judged. No database here."""

from __future__ import annotations

from dataclasses import dataclass

from backups.locations import Place, trouble_of
from backups.models import Damage
from backups.placing import sha256_of
from backups.stores.contract import Missing, StoreError, StoreRefused, StoreUnavailable

What = Damage.What


class OutOfReach(Exception):
    """The location does not answer as a whole: its objects are neither good nor damaged. The message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an object should be: `sha256` (hex) and `size` of its stored bytes."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands there: `what` is wrong with it (None: nothing), and its bytes where it gave any."""

    what: Damage.What | None
    data: bytes | None = None

    @property
    def right(self) -> bool:
        return self.what is None


def judge(place: Place, expected: Expected, trusted: str) -> Seen:
    """Reads the object. Raises `OutOfReach` when the location cannot be used, which says nothing about the object; one that alone cannot
    be read (a bad sector) is unreadable. `trusted` is the signing key's fingerprint."""
    try:
        data = place.store.get(expected.name)
    except Missing:
        refuse_unreachable(place, trusted)  # a folder that was unmounted meanwhile has nothing of what it holds
        return Seen(What.MISSING)
    except StoreError as problem:
        refuse_unreachable(place, trusted, problem)
        return Seen(What.UNREADABLE)
    if sha256_of(data) == expected.sha256:
        return Seen(None, data)
    return Seen(What.CUT if len(data) < expected.size else What.ALTERED, data)


def refuse_unreachable(place: Place, trusted: str, problem: StoreError | None = None) -> None:
    """`OutOfReach` when the location as a whole cannot be used, or refuses to be read."""
    trouble = trouble_of(place.store, trusted)
    if isinstance(trouble, StoreUnavailable | StoreRefused):
        raise OutOfReach(f"{place.name}: {trouble}") from problem
