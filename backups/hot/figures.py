"""What is not durable yet, who ships, and how long it took of late: all figures by which P2 is judged (`standing.judged`).

Every question is answered from the partial indexes over what is open (the outbox, owed copies, files on their way), never from the journal
or the segments as a whole. What is open may be much when nobody ships: then it is counted up to a bound, from the oldest on, so that the
age is right and the count says "more".
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import models
from django.db.models import Count, Exists, F, Min, OuterRef, Sum

from audit.models import JournalRow
from backups import heartbeats
from backups.hot import loss_window
from backups.hot.durations import Counted, added
from backups.hot.loss_window import HOUR, hour_of
from backups.hot.shipper import BEAT
from backups.hot.standing import Figures, Lag, Place, Shipping
from backups.hot.timelines import LEASE
from backups.models import Blob, Copy, HotFile, HotState, Lease, Location, SegmentCopy

MOST_CHANGES, MOST_SEGMENTS, MOST_FILES = 20_000, 20_000, 2_000
STANDS_BY = timedelta(seconds=30)


def now(at: datetime, by_hour: dict[int, dict[datetime, Counted]] | None = None) -> Figures:
    """All figures as they are at `at`. `by_hour` are `loss_window.hours` since the day's beginning at least, where the caller has them."""
    measured = loss_window.hours(min(at - HOUR, at.astimezone(UTC).replace(hour=0))) if by_hour is None else by_hour
    locations = list(Location.objects.filter(in_force=True))
    offsite = [location for location in locations if location.offsite]
    waiting = _waiting()
    places = tuple(_place(location, waiting, measured.get(location.pk, {}), at) for location in locations)
    return Figures(at, places, _lag(offsite, waiting) if offsite else None, shipping(at))


def shipping(at: datetime) -> Shipping:
    """Who ships at `at`, and who stands by."""
    lease = Lease.objects.filter(name=LEASE, expires_at__gt=at).first()
    state = HotState.objects.first()
    holder = lease.holder if lease else ""
    alive = heartbeats.alive(BEAT, since=at - STANDS_BY)
    return Shipping(
        holder=holder,
        since=lease.taken_at if lease else None,
        ticked_at=state.ticked_at if state else None,
        stand_bys=tuple(process for process in alive if process != holder),
        stopped=state.stopped if state else "",
        stopped_at=state.stopped_at if state else None,
        unled_since=state.unled_since if state else None,
    )


def _place(location: Location, waiting: Lag, by_hour: dict[datetime, Counted], at: datetime) -> Place:
    hour = hour_of(at)
    return Place(
        name=location.name,
        offsite=location.offsite,
        lag=_lag([location], waiting),
        trouble=location.trouble,
        last_hour=added(one for since, one in by_hour.items() if since >= hour - HOUR),
        today=added(one for since, one in by_hour.items() if since.date() == hour.date()),
        key=location.pk,
    )


def _lag(locations: Sequence[Location], waiting: Lag) -> Lag:
    """What is durable at none of the locations: what waits for everything, the segments that all of them are owed, and files likewise."""
    return _together(waiting, _segments_owed(locations), _files_owed(locations))


def _together(*lags: Lag) -> Lag:
    return Lag(
        sum(lag.changes for lag in lags),
        sum(lag.files for lag in lags),
        min((lag.since for lag in lags if lag.since), default=None),
        any(lag.more for lag in lags),
    )


def _waiting() -> Lag:
    """What is durable nowhere: changes without a number, and files whose bytes are not stored."""
    outbox = _oldest(JournalRow.objects.filter(number=None), MOST_CHANGES, n=Count("pk"), since=Min("written_at"))
    open_files = HotFile.objects.filter(state__in=(HotFile.State.WAITING, HotFile.State.SEALED))
    files = _oldest(open_files, MOST_FILES, n=Count("pk"), since=Min("written_at"))
    return _together(
        Lag(changes=min(outbox["n"], MOST_CHANGES), since=outbox["since"], more=outbox["n"] > MOST_CHANGES),
        Lag(files=min(files["n"], MOST_FILES), since=files["since"], more=files["n"] > MOST_FILES),
    )


def _segments_owed(locations: Sequence[Location]) -> Lag:
    durable = SegmentCopy.objects.exclude(durable_at=None)
    owed = _at_none_of(locations, "segment", SegmentCopy.objects.filter(durable_at=None), durable, SegmentCopy.objects.all())
    return _together(*(_of_segments(rows) for rows in owed))


def _of_segments(owed: models.QuerySet) -> Lag:
    rows = owed.annotate(held=F("segment__changes"), oldest=F("segment__oldest_at"))
    found = _oldest(rows, MOST_SEGMENTS, order="segment", n=Count("pk"), changes=Sum("held"), since=Min("oldest"))
    # Idle marks are owed as well, and hold nothing that could be lost.
    return Lag(changes=found["changes"] or 0, since=found["since"], more=found["n"] > MOST_SEGMENTS)


def _files_owed(locations: Sequence[Location]) -> Lag:
    """Files that are stored somewhere, and with a part that is at none of the locations."""
    # Asked by the few hot blobs: a location that is down may be owed a million other copies.
    hot = Copy.objects.filter(blob__in=Blob.objects.filter(hot=True, kind=Blob.Kind.BLOB))
    owed = _at_none_of(
        locations, "blob", hot.filter(state=Copy.State.OWED), Copy.objects.filter(state=Copy.State.PRESENT), Copy.objects.all()
    )
    blobs = [blob for rows in owed for blob in rows.order_by("blob").values_list("blob__stream_id", "blob__sha256")[: MOST_FILES + 1]]
    if not blobs:
        return Lag()
    names = {sha256 for _, sha256 in blobs}
    files = [written_at for written_at, parts in _stored_files({stream for stream, _ in blobs}) if _touches(parts, names)]
    return Lag(files=len(files), since=min(files, default=None), more=len(blobs) > MOST_FILES)


def _at_none_of(
    locations: Sequence[Location], what: str, owed: models.QuerySet, there: models.QuerySet, known: models.QuerySet
) -> list[models.QuerySet]:
    """The owed copies of what is at none of the locations, each thing once: with the first location that knows of it (one that was added
    later does not know what was written before)."""
    keys = [location.pk for location in locations]
    found = []
    for number, key in enumerate(keys):
        rows = owed.filter(location=key)
        if before := keys[:number]:
            rows = rows.filter(~Exists(known.filter(**{what: OuterRef(what)}, location__in=before)))
        if after := keys[number + 1 :]:
            rows = rows.filter(~Exists(there.filter(**{what: OuterRef(what)}, location__in=after)))
        found.append(rows)
    return found


def _stored_files(streams: Iterable[uuid.UUID]) -> Iterable[tuple[datetime, Any]]:
    stored = HotFile.objects.filter(stream__in=list(streams), state=HotFile.State.STORED)
    return stored.order_by("pk").values_list("written_at", "parts")[:MOST_FILES]


def _touches(parts: Sequence[Sequence[Any]], blobs: set[str]) -> bool:
    return any(part[0] in blobs for part in parts)


def _oldest(rows: models.QuerySet, most: int, *, order: str = "pk", **figures: Any) -> dict[str, Any]:
    """Figures over the oldest rows, one more than `most`."""
    return rows.order_by(order)[: most + 1].aggregate(**figures)
