"""Which moments of a customer can be restored: its sets, and the seconds that sets and segments cover together (P14; design section 6).

A set covers every second before its snapshot, for it holds the whole history; behind the newest set the segments go on, without a gap or
not. So the seconds covered reach from the first change until the last segment before the first gap, at each location by itself and at all
of them together.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from audit.models import JournalRow
from backups.customerkeys import refuse_destroyed, refuse_ended
from backups.errors import NoLocation
from backups.hot import forks as timelines
from backups.hot.forks import Fork
from backups.hot.reading import FoundSegment, find_forks, find_removed, find_segments, until_of
from backups.hot.removed import Record
from backups.locations import Place
from backups.models import BackupSet
from backups.read_leases import staying
from backups.reading import FoundSet, find_sets
from backups.vault import Vault


@dataclass(frozen=True, slots=True)
class Point:
    """A set. `tier` says for what it is kept (`nightly`, or `asked` when a person did), `reason` the same as a sentence; `number` and
    `journal_at` its newest change and when that was made, None when it was made before changes had numbers. `damaged_at`: when it was
    found damaged beyond mending."""

    id: str
    night: date
    snapshot_at: datetime
    tier: str
    reason: str
    places: tuple[str, ...]
    protected: bool
    number: int | None
    journal_at: datetime | None
    segment: int | None
    timeline: int
    counts: dict[str, int]
    software: str
    schema: str
    damaged_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Moments of which each can be restored, those before `end`: of `end` itself another change may still come to light. `place` is a
    location's name, empty for all locations together; `start` None is the customer's first change, whenever that was."""

    place: str
    start: datetime | None
    end: datetime


@dataclass(frozen=True, slots=True)
class Hole:
    """Seconds of which none can be restored: `first` to `last` are the segments that are missing or damaged at `place` (empty: at every
    one); it begins at `after` and ends at `before`, None when nothing behind it is known."""

    place: str
    after: datetime | None
    before: datetime | None
    first: int
    last: int

    @property
    def text(self) -> str:
        which = f"segment {self.first} is" if self.first == self.last else f"segments {self.first} to {self.last} are"
        return f"{which} missing or damaged at {self.place or 'every location'}"


@dataclass(frozen=True, slots=True)
class Coverage:
    """`points` newest first. `until` is the moment before which all locations together cover every one, None when none is."""

    points: tuple[Point, ...]
    spans: tuple[Span, ...]
    gaps: tuple[Hole, ...]
    until: datetime | None
    notes: tuple[str, ...]


def covered(vault: Vault, stream: uuid.UUID) -> Coverage:
    """What can be restored of the stream from the places that can be used now. Reads listings, envelopes and a few segments' indexes.

    Raises `NoLocation` when no place can be used, `StreamEnded`, `Gap` when how a timeline began is not known any more.
    """
    places, troubles = vault.usable()
    if not places:
        raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    refuse_destroyed(stream)
    refuse_ended(places, stream)
    notes = [f"{name} cannot be used ({why})" for name, why in troubles.items()]
    sets = staying(find_sets(places, str(stream), vault.fingerprint, notes))
    forks = find_forks(places, vault.fingerprint, notes)
    record = find_removed(places, vault.fingerprint, notes)
    start = JournalRow.objects.filter(stream=stream).order_by("id").values_list("written_at", flat=True).first()
    spans: list[Span] = []
    gaps: list[Hole] = []
    for name, these in (("", places), *((place.name, (place,)) for place in places)):
        reach = _Reach(name, these, vault.fingerprint, forks, notes, find_segments(these, notes), record, str(stream))
        for span, hole in reach.each(start, [one for one in sets if not name or name in one.places]):
            spans += [span] if span else []
            gaps += [hole] if hole else []
    until = max((span.end for span in spans if not span.place), default=None)
    return Coverage(tuple(_point(one) for one in sets), tuple(spans), tuple(gaps), until, tuple(dict.fromkeys(notes)))


def _point(found: FoundSet) -> Point:
    envelope, journal = found.envelope, found.journal
    policy = envelope["policy"]
    reason = f"version {policy} of the policy owed it for the night of {envelope['night']}" if policy else "a person asked for it"
    protected_at, damaged_at = BackupSet.objects.filter(pk=found.id).values_list("protected_at", "damaged_at").first() or (None, None)
    return Point(
        found.id,
        date.fromisoformat(envelope["night"]),
        found.snapshot_at,
        "nightly" if policy else "asked",
        reason,
        found.places,
        protected_at is not None and damaged_at is None,
        journal["number"] if journal else None,
        _moment(journal["at"]) if journal else None,
        journal["segment"] if journal else None,
        journal["timeline"] if journal else timelines.FIRST,
        envelope["counts"],
        envelope["software"],
        envelope["schema"],
        damaged_at,
    )


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far these places reach together, called `name`."""

    name: str
    places: Sequence[Place]
    trusted: str
    forks: Sequence[Fork]
    notes: list[str]
    found: dict[int, FoundSegment]
    record: Record | None
    stream: str

    def each(self, start: datetime | None, sets: Sequence[FoundSet]) -> Iterator[tuple[Span | None, Hole | None]]:
        """Timeline by timeline, the seconds that are read on it."""
        begins = {fork.timeline: fork for fork in self.forks}
        for timeline in range(timelines.FIRST, timelines.newest(self.forks) + 1):
            base = _base(sets, timeline)
            if base is None:
                continue
            following = begins.get(timeline + 1)
            end, hole = self._followed(base, following.first_segment if following else None)
            begun = begins[timeline].started_at if timeline in begins else start
            end = min(end, following.started_at) if end and following else end
            yield Span(self.name, begun, end) if end and (begun is None or begun <= end) else None, hole

    def _followed(self, base: FoundSet, before: int | None) -> tuple[datetime | None, Hole | None]:
        """Until when the set and the segments behind it know all; and what stands behind the first that is missing."""
        journal = base.mark
        first, moments = int(journal["segment"]), [_moment(journal["at"])]
        record = self.record if before is None or (self.record and self.record.up_to < before) else None
        if record is not None and first < record.up_to:
            if int(journal["number"]) < record.covered.get(self.stream, 0):
                return moments[0], None  # what went with the removed segments is in a set that is not here
            first, moments = record.up_to, [*moments, record.until_of(self.stream)]
        known = [number for number in self.found if number >= first and (before is None or number < before)]
        last = first
        while last + 1 in known:
            last += 1
        moments.append(self._until(last) if last in known else None)
        end = max((one for one in moments if one is not None), default=None)
        beyond = [number for number in known if number > last]
        if not beyond:
            return end, None
        return end, Hole(self.name, end, self._until(max(beyond)), last + 1, min(beyond) - 1)

    def _until(self, number: int) -> datetime | None:
        return until_of(self.found[number], self.places, self.trusted, self.stream, self.notes)


def _base(sets: Sequence[FoundSet], timeline: int) -> FoundSet | None:
    """The set that reaches furthest on that timeline: of the newest line that leads to it."""
    leading = [one for one in sets if one.journal is not None and one.mark["timeline"] <= timeline]
    return max(leading, key=lambda one: (one.mark["timeline"], one.mark["segment"], one.snapshot_at), default=None)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
