"""What stands at one location and is read again, the oldest check first: copies of stored objects, segments, and what was kept of them.

New bytes were read back when they were stored, so their first check is that moment.
"""

from __future__ import annotations

import heapq
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, Min, QuerySet, Sum
from django.db.models.functions import Coalesce, TruncDay

from backups.models import Blob, Copy, Location, SegmentCopy, ServiceObject
from backups.statements import change
from backups.verification.reading import Expected
from subscriptions.ending import standing

PAGE = 500
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_CHECKED = "UPDATE {} SET checked_at = %s WHERE id IN (%s)"
_COPIES = f"{_CHECKED.format(Copy._meta.db_table)} AND state = %s"
_SEGMENTS = f"{_CHECKED.format(SegmentCopy._meta.db_table)} AND durable_at IS NOT NULL"
_SERVICE = _CHECKED.format(ServiceObject._meta.db_table)


@dataclass(frozen=True, slots=True, order=True)
class Standing:
    """One object at the location: `table` and `pk` of its row, and what it should be. Ordered by its last check."""

    checked_at: datetime
    table: str
    pk: int
    expected: Expected
    stream: uuid.UUID | None = None
    blob: int | None = None


def copies(location: Location, streams: Sequence[uuid.UUID] | None = None) -> QuerySet[Copy]:
    """What was set aside is read by nobody but people, and what is being destroyed by nobody at all."""
    found = Copy.objects.filter(location=location, state=Copy.State.PRESENT, blob__state=Blob.State.STORED)
    found = found.exclude(blob__kind=Blob.Kind.ASIDE).exclude(blob__stream__in=standing.ended())
    return found if streams is None else found.filter(blob__stream__in=streams)


def segment_copies(location: Location) -> QuerySet[Any]:
    durable = SegmentCopy.objects.filter(location=location, durable_at__isnull=False).exclude(segment__sha256="")
    return durable.annotate(last=Coalesce("checked_at", "durable_at"))


def kept(location: Location) -> QuerySet[Any]:
    return ServiceObject.objects.filter(location=location, kind=ServiceObject.Kind.KEPT).annotate(last=Coalesce("checked_at", LONG_AGO))


def oldest_first(location: Location, streams: Sequence[uuid.UUID] | None = None) -> Iterator[Standing]:
    """Everything there, a page at a time; of these streams alone when some are named."""
    if streams is not None:
        return _copies(location, streams)
    return heapq.merge(_copies(location, None), _segments(location), _kept(location))


def _copies(location: Location, streams: Sequence[uuid.UUID] | None) -> Iterator[Standing]:
    columns = ("checked_at", "pk", "blob__name", "blob__sha256", "blob__size", "blob__stream", "blob")
    for at, pk, name, sha256, size, stream, blob in _paged(copies(location, streams), "checked_at", columns):
        yield Standing(at, "copy", pk, Expected(name, sha256, size), stream, blob)


def _segments(location: Location) -> Iterator[Standing]:
    columns = ("last", "pk", "segment__name", "segment__sha256", "segment__size")
    for at, pk, name, sha256, size in _paged(segment_copies(location), "last", columns):
        yield Standing(at, "segment", pk, Expected(name, sha256, size))


def _kept(location: Location) -> Iterator[Standing]:
    for at, pk, name, sha256, size in _paged(kept(location), "last", ("last", "pk", "name", "sha256", "size")):
        yield Standing(at, "service", pk, Expected(name, sha256, size))


def _paged(rows: QuerySet[Any], by: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """By keyset: what is checked meanwhile moves behind, and nothing is met twice in one pass for it was read with the page."""
    ordered, after, last = rows.order_by(by, "pk"), None, 0
    until = None
    while True:
        page = ordered if after is None else ordered.filter(**{f"{by}__gte": after}).exclude(**{by: after, "pk__lte": last})
        found = list(page.values_list(*columns)[:PAGE])
        if until is None and found:
            until = ordered.values_list(by, "pk").last()
        for row in found:
            if until is not None and (row[0], row[1]) > until:
                return
            yield row
        if len(found) < PAGE:
            return
        after, last = found[-1][0], found[-1][1]


def checked(standing: Sequence[Standing], now: datetime) -> None:
    """These were read and are right. No lease: it says nothing else of the row, and only of one that still counts."""
    for start in range(0, len(standing), PAGE):
        batch = standing[start : start + PAGE]
        by_table = {table: [one.pk for one in batch if one.table == table] for table in ("copy", "segment", "service")}
        if by_table["copy"]:
            change(_COPIES, now, by_table["copy"], Copy.State.PRESENT)
        if by_table["segment"]:
            change(_SEGMENTS, now, by_table["segment"])
        if by_table["service"]:
            change(_SERVICE, now, by_table["service"])


@dataclass(frozen=True, slots=True)
class Stock:
    """What is stored at a location: objects and bytes, those checked within the period, and the oldest check."""

    objects: int
    bytes: int
    in_time: int
    oldest_at: datetime | None
    due_in: Counter[int]


def stock(location: Location, now: datetime) -> Stock:
    """Reads all that is known of the location's copies, by the day of their last check."""
    period = timedelta(days=location.recheck_days)
    due_in: Counter[int] = Counter()
    objects = in_time = size = 0
    for day, number, bytes_of_day in _by_day(location):
        left = (day + period - now).days
        due_in[max(left, 0)] += bytes_of_day
        objects, size = objects + number, size + bytes_of_day
        in_time += number if day >= now - period - timedelta(days=1) else 0
    return Stock(objects, size, in_time, oldest(location), due_in)


def _by_day(location: Location) -> Iterator[tuple[datetime, int, int]]:
    grouped = (
        (copies(location), "checked_at", "blob__size"),
        (segment_copies(location), "last", "segment__size"),
        (kept(location), "last", "size"),
    )
    for rows, at, size in grouped:
        by_day = rows.order_by().annotate(day=TruncDay(at, tzinfo=UTC)).values("day").annotate(number=Count("pk"), bytes=Sum(size))
        yield from ((one["day"], one["number"], one["bytes"] or 0) for one in by_day)


def oldest(location: Location) -> datetime | None:
    """The oldest check of anything there."""
    found = [
        copies(location).order_by("checked_at").values_list("checked_at", flat=True).first(),
        segment_copies(location).aggregate(oldest=Min("last"))["oldest"],
        kept(location).aggregate(oldest=Min("last"))["oldest"],
    ]
    return min((at for at in found if at is not None), default=None)
