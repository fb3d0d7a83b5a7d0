"""What the shipper records: segments with their copies, and how long changes took. Every write is fenced by its lease."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from backups.catalogue import InForce
from backups.hot import loss_window
from backups.models import HotState, Location, Segment, SegmentCopy
from backups.statements import change, insert

_DURABLE = f"UPDATE {SegmentCopy._meta.db_table} SET durable_at = %s WHERE location_id = %s AND segment_id = %s AND durable_at IS NULL"  # noqa: S608
_KNOWN = f"UPDATE {Segment._meta.db_table} SET sha256 = %s, size = %s WHERE number = %s"  # noqa: S608  (names from the models)


@dataclass(slots=True)
class Sent:
    """A segment under way. `written` are the times of the changes that are durable with it; `data` until one location has it."""

    number: int
    name: str
    sha256: str
    size: int
    written: list[datetime]
    data: bytes | None
    known: bool = False
    at: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Durable:
    """A segment was read back at a location, at that moment of the database's clock."""

    location: Location
    sent: Sent
    at: datetime


def intend(segment: Segment, in_force: Sequence[InForce]) -> None:
    """The segment's row, and the copies that are owed: in the transaction that gives its changes their numbers."""
    insert([segment])
    insert([SegmentCopy(segment=segment, location_id=location.pk) for location in in_force])


def note_durable(done: Iterable[Durable]) -> None:
    """Records copies, and for each of the changes the seconds from its writing to that moment."""
    durations: dict[Location, list[float]] = {}
    newest: dict[Location, datetime] = {}
    for one in done:
        if not change(_DURABLE, one.at, one.location.pk, one.sent.number):
            continue  # it was recorded before
        if not one.sent.known:
            change(_KNOWN, one.sent.sha256, one.sent.size, one.sent.number)
            one.sent.known = True
        durations.setdefault(one.location, []).extend(max((one.at - at).total_seconds(), 0.0) for at in one.sent.written)
        newest[one.location] = max(one.at, newest.get(one.location, one.at))
    for location, seconds in durations.items():
        if seconds:
            loss_window.note(location, seconds, newest[location])


def owed(location: int, most: int) -> list[Segment]:
    """The oldest segments that the location still lacks."""
    copies = SegmentCopy.objects.filter(location=location, durable_at=None).order_by("segment")[:most]
    return [copy.segment for copy in copies.select_related("segment")]


def is_owed_anything(location: int) -> bool:
    return SegmentCopy.objects.filter(location=location, durable_at=None).exists()


def tick(now: datetime) -> None:
    HotState.objects.update_or_create(pk=1, defaults={"ticked_at": now})
