"""Which seconds of a stream can be restored, as far as the database knows: quick enough for a page, for no location is asked.

A set holds the whole history, so it covers every second before it; behind a location's newest set its segments go on until the first that
it lacks. So each location covers one stretch, and what ends it is told. `backups.coverage` asks the locations themselves.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Max, QuerySet, Window
from django.db.models.functions import Lag as Before

from audit.models import JournalRow
from audit.moments import in_utc_to_the_second
from backups.hot.seeking import segments_from
from backups.models import BackupSet, Blob, Copy, HotState, Location, Segment, SegmentCopy, Timeline

# The time between two segments from which on nobody shipped: idle marks come every minute.
SILENCE = timedelta(minutes=2)
MOST_SEGMENTS = 100_000
NO_BASE = "No set that was made since changes are shipped is whole there yet; from the next backup on every second is covered."


@dataclass(frozen=True, slots=True)
class Base:
    """The newest set that is whole at a location: behind `segment` the segments go on; until `at` it knows all by itself."""

    pk: uuid.UUID
    segment: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Reach:
    """What one location covers alone: every second from `since`, the first change, to `until`; None when it covers none. `ends` says why
    it ends there; empty while the location keeps the pace."""

    place: str
    offsite: bool
    since: datetime | None = None
    until: datetime | None = None
    ends: str = ""

    def holds(self, at: datetime) -> bool:
        return self.since is not None and self.until is not None and self.since <= at <= self.until


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody shipped in this time. What was written meanwhile came later: it can be restored now, and would have been lost then."""

    start: datetime
    end: datetime


def reaches(stream: uuid.UUID) -> list[Reach]:
    """One for each location in force."""
    locations = list(Location.objects.filter(in_force=True))
    first = JournalRow.objects.filter(stream=stream).order_by("id").values_list("written_at", flat=True).first()
    bases = _bases(stream)
    # What was removed is held by sets, or was copied out for those whose sets do not hold it.
    removed_to = HotState.objects.values_list("removed_to", flat=True).first() or 0
    missing = {segment: _first_missing(max(segment, removed_to)) for segment in {base.segment for base in bases.values()}}
    return [_reach(stream, location, bases.get(location.pk), first, missing) for location in locations]


def silences(start: datetime, end: datetime) -> list[Silence] | None:
    """The times between two segments within which nobody shipped, as far as they end between these moments; None when so many segments
    were made meanwhile that they are not looked at."""
    first, behind = segments_from([start, end])
    if behind - first > MOST_SEGMENTS:
        return None
    following = Segment.objects.filter(number__gte=first - 1, number__lt=behind)
    pairs = following.annotate(before=Window(Before("until"), order_by=F("number").asc())).filter(made_at__gt=F("before") + SILENCE)
    return [Silence(before, made_at) for before, made_at in pairs.order_by("number").values_list("before", "made_at") if before < end]


def _bases(stream: uuid.UUID) -> dict[int, Base]:
    """By location. A set that was made before changes had numbers is none."""
    whole = Copy.objects.filter(state=Copy.State.PRESENT, blob__stream=stream, blob__kind=Blob.Kind.ENVELOPE, blob__state=Blob.State.STORED)
    sets = whole.filter(blob__made_by__state=BackupSet.State.MADE, blob__made_by__segment__isnull=False)
    rows = sets.order_by("blob__made_by__segment", "blob__made_by__snapshot_at").values_list(
        "location", "blob__made_by", "blob__made_by__segment", "blob__made_by__journal_at"
    )
    return {location: Base(pk, segment, at) for location, pk, segment, at in rows if segment is not None}


def _reach(stream: uuid.UUID, location: Location, base: Base | None, first: datetime | None, missing: Mapping[int, int | None]) -> Reach:
    if base is None or first is None:
        return Reach(location.name, location.offsite, first, ends=NO_BASE)
    owed = SegmentCopy.objects.filter(location=location, durable_at=None, segment__gt=base.segment).order_by("segment")
    lacked, since = owed.values_list("segment", "segment__made_at").first() or (None, None)
    stop = min((number for number in (lacked, missing[base.segment]) if number is not None), default=None)
    followed = Segment.objects.filter(number__gte=base.segment, **({} if stop is None else {"number__lt": stop}))
    newest = followed.order_by("-number").first()
    until = max((moment for moment in (base.at, _known(newest, stream)) if moment is not None), default=None)
    return Reach(location.name, location.offsite, first, until, _why(stop, since if stop == lacked else None))


def _known(newest: Segment | None, stream: uuid.UUID) -> datetime | None:
    """Until when the segments up to this one know all of the stream."""
    if newest is None:
        return None
    waiting = newest.waiting.get(str(stream))
    return min(newest.until, datetime.fromisoformat(waiting)) if waiting else newest.until


def _why(stop: int | None, owed_since: datetime | None) -> str:
    if stop is None:
        return ""
    if owed_since is not None:
        return f"Segment {stop}, made {in_utc_to_the_second(owed_since)}, is owed to it, and is brought there by itself."
    return f"Segment {stop} is missing: the next nightly set covers what is behind it."


def _first_missing(base: int) -> int | None:
    """The first number behind `base` that no segment has; a timeline may begin with a later number than the one before ended with."""
    behind = Segment.objects.filter(number__gt=base)
    found = behind.aggregate(n=Count("number"), last=Max("number"))
    if not found["n"] or found["n"] == found["last"] - base:
        return None
    begins = set(Timeline.objects.values_list("first_segment", flat=True))
    gaps = _gaps(base, behind)
    return next((before + 1 for before, number in gaps if number not in begins), None)


def _gaps(base: int, behind: QuerySet) -> Iterator[tuple[int, int]]:
    """Each segment that does not follow on the one before, with that one's number."""
    pairs = behind.annotate(before=Window(Before("number", default=base), order_by=F("number").asc()))
    yield from pairs.exclude(number=F("before") + 1).order_by("number").values_list("before", "number")
