"""What the names of wrapped keys say (pure): `keys/<stream>/<n>.age`, or `keys/<stream>/<n>-<wrapping>.age` from the second wrapping on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_NAME = re.compile(r"keys/[^/]+/(\d+)(?:-(\d+))?\.age")


class KeyName(NamedTuple):
    """The number of a stream's key, from 1 on (0: it is no key), and the wrapping, which says for whom it is wrapped."""

    number: int
    wrapping: int

    @property
    def ident(self) -> str:
        """As `object_name` takes it."""
        return str(self.number) if self.wrapping == 1 else f"{self.number}-{self.wrapping}"


def key_name(name: str) -> KeyName:
    """What the object's name says; number 0 for one that is no key's."""
    found = _NAME.fullmatch(name)
    return KeyName(int(found[1]), int(found[2] or 1)) if found else KeyName(0, 0)


def newest_first(name: str) -> tuple[int, int]:
    """To sort names by: the newest key first, and its newest wrapping."""
    number, wrapping = key_name(name)
    return -number, -wrapping


def wrappings_of(names: Iterable[str], number: int) -> list[str]:
    """The names of that key's wrappings, the newest first."""
    return sorted((name for name in names if key_name(name).number == number), key=newest_first)
