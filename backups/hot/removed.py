"""What is said of segments that were removed (pure; docs/format.md): `hot/removed/<number>.json`, signed, the newest one counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backups.hot.segments import FOLDER

FORMAT = 1
KEPT, REMOVED = f"{FOLDER}kept/", f"{FOLDER}removed/"
_KEPT = re.compile(r"hot/kept/(\d{12,})-(\d+)\.tar")
_RECORD = re.compile(r"hot/removed/(\d{12,})\.json")


class BadRecord(Exception):
    """A record of another format; the message says what."""


@dataclass(frozen=True, slots=True)
class Record:
    """Segments up to `up_to` were removed, the last of which knew all until `until`, but for what was `waiting` then (as in `Index`).
    `kept` are those whose sections were copied out for a stream; `covered` is the newest number of each stream that a protected, proved
    set held: whoever reads on from an older set lacks what was removed."""

    up_to: int
    until: datetime
    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)
    covered: Mapping[str, int] = field(default_factory=dict)
    waiting: Mapping[str, datetime] = field(default_factory=dict)

    def until_of(self, stream: str) -> datetime:
        """Until when the removed segments knew all of the stream."""
        return min(self.until, self.waiting.get(stream, self.until))

    def document(self) -> dict[str, Any]:
        """What is signed and stored at every location."""
        return {
            "format": FORMAT,
            "kind": "removed",
            "up_to": self.up_to,
            "until": self.until.astimezone(UTC).isoformat(),
            "kept": {stream: list(numbers) for stream, numbers in self.kept.items()},
            "covered": dict(self.covered),
            "waiting": {stream: at.astimezone(UTC).isoformat() for stream, at in self.waiting.items()},
        }


def of_document(document: Mapping[str, Any]) -> Record:
    """Of a verified document. Raises `BadRecord`."""
    try:
        if (document["format"], document["kind"]) != (FORMAT, "removed"):
            raise BadRecord(f"it is a {document['kind']} of format {document['format']}")
        kept = {stream: tuple(numbers) for stream, numbers in document["kept"].items()}
        waiting = {stream: datetime.fromisoformat(at) for stream, at in document["waiting"].items()}
        return Record(document["up_to"], datetime.fromisoformat(document["until"]), kept, document["covered"], waiting)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BadRecord(f"it cannot be read: {problem}") from None


def kept_name(number: int, epoch: int) -> str:
    """Where sections that were copied out of a segment lie, as a segment of the same number."""
    return f"{KEPT}{number:012d}-{epoch}.tar"


def kept_number(name: str) -> tuple[int, int] | None:
    """Number and epoch of such a name; None for any other name."""
    found = _KEPT.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def record_name(up_to: int) -> str:
    return f"{REMOVED}{up_to:012d}.json"


def recorded_number(name: str) -> int | None:
    """Up to which segment the record of that name goes; None for any other name."""
    found = _RECORD.fullmatch(name)
    return int(found[1]) if found else None
