"""Whether the hot backup has the last changes and files of a frozen customer: durable at every required location (P2, P10)."""

from __future__ import annotations

import uuid

from django.db.models import Exists, OuterRef, Q

from audit.models import JournalRow
from backups.errors import NotReturned
from backups.models import HotFile, Location, Segment, SegmentCopy


def refuse_unshipped(stream: uuid.UUID) -> None:
    """Raises `NotReturned` with what is waited for. Segments that were removed are held by protected sets."""
    waiting = JournalRow.objects.filter(stream=stream, number=None).count()
    files = _files(stream)
    owed = [f"{location.name} lacks {lacking}" for location in _required() if (lacking := _lacking(stream, location))]
    if waiting or files:
        raise NotReturned(
            f"Waiting for the hot backup: {waiting} changes and {files} files of this customer are not shipped yet. It goes on by itself; "
            "if it does not, see that the shipper runs and what it says."
        )
    if owed:
        raise NotReturned(
            f"Waiting for the hot backup: {'; '.join(owed)} of this customer's segments. It goes on by itself when the location has them; "
            "mend it if it cannot be reached."
        )


def _files(stream: uuid.UUID) -> int:
    settled = Q(state__in=(HotFile.State.STORED, HotFile.State.ABSENT), segment__isnull=False)
    return HotFile.objects.filter(stream=stream).exclude(settled).count()


def _required() -> list[Location]:
    return list(Location.objects.filter(in_force=True, required=True))


def _lacking(stream: uuid.UUID, location: Location) -> int:
    """How many segments with changes or files of the stream are not durable there."""
    numbers = Q(number__in=JournalRow.objects.filter(stream=stream, segment__isnull=False).values("segment"))
    numbers |= Q(number__in=HotFile.objects.filter(stream=stream, segment__isnull=False).values("segment"))
    durable = SegmentCopy.objects.filter(segment=OuterRef("pk"), location=location, durable_at__isnull=False)
    return Segment.objects.filter(numbers, ~Exists(durable)).count()
