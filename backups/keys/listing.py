"""Where each copy of each customer's key lies, for whom it is wrapped, what needs it, and what losing what loses (P3, P4)."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Count, Max, Min, Q

from audit.models import Stream
from backups.errors import KeysMissing
from backups.keyfiles import KeyRing
from backups.keynames import key_name, newest_first
from backups.locations import Place
from backups.models import BackupSet, Blob, Copy, KeyRingVersion, Location, Segment
from backups.placing import sha256_of
from backups.stores.contract import Missing, StoreError

PRESENT, OWED, MISSING, DAMAGED, UNOPENED, SILENT = "present", "owed", "missing", "damaged", "does not open", "does not answer"
UNRECORDED = "not recorded"
# From so many streams on all are read, in one statement: a list of ids that is longer is what databases refuse.
MANY = 400


@dataclass(frozen=True, slots=True)
class KeyCopy:
    """One wrapping at one location: `state` is what the catalogue says, or what was found there just now (then `read` is true)."""

    location: str
    state: str
    checked_at: datetime | None
    read: bool = False


@dataclass(frozen=True, slots=True)
class Wrapping:
    """One stored wrapping of a key; `former` goes once all locations have the newest."""

    name: str
    sha256: str
    wrapping: int
    opens: tuple[str, ...]
    former: bool
    copies: tuple[KeyCopy, ...]


@dataclass(frozen=True, slots=True)
class ListedKey:
    """One key of one stream with its wrappings, the newest first. `sets` are those sealed under it, of the nights `first` to `last`."""

    stream: uuid.UUID
    called: str
    number: int
    newest: bool
    wrappings: tuple[Wrapping, ...]
    sets: int
    first: Any
    last: Any

    @property
    def losing(self) -> str:
        """What is lost when no location has it any more."""
        return f"{self._sets}, and the hot changes of the time when it was in use"

    @property
    def _sets(self) -> str:
        if not self.sets:
            return "no set"
        first, last = f"{self.first:%-d %b %Y}", f"{self.last:%-d %b %Y}"
        nights = f"the night of {first}" if first == last else f"the nights of {first} to {last}"
        return f"{self.sets:,} sets of {nights}" if self.sets > 1 else f"the set of {nights}"

    @property
    def whole_at(self) -> list[str]:
        """The locations that have it in any wrapping."""
        found = {copy.location: None for one in self.wrappings for copy in one.copies if copy.state == PRESENT}
        return list(found)

    @property
    def troubles(self) -> list[str]:
        """What is not as it should be with the newest wrapping, a line each."""
        return [f"{self.wrappings[0].name}: {copy.state} at {copy.location}" for copy in self.wrappings[0].copies if copy.state != PRESENT]


def listed(streams: Sequence[Stream]) -> list[ListedKey]:
    """What the catalogue knows of these streams' keys; in a number of queries that does not grow with them."""
    called = {one.pk: one.name for one in streams}
    blobs: dict[tuple[uuid.UUID, int], list[Blob]] = defaultdict(list)
    wanted = Blob.objects.filter(kind=Blob.Kind.KEY).exclude(state=Blob.State.INTENDED)
    for blob in wanted if len(called) > MANY else wanted.filter(stream__in=list(called)):
        if blob.stream_id in called:
            blobs[blob.stream_id, key_name(blob.name).number].append(blob)
    copies, rings, sets = _copies(called), _rings(), _sets(called)
    newest = _newest(blobs)
    found = []
    for (stream, number), those in sorted(blobs.items(), key=lambda one: (called[one[0][0]], one[0][1])):
        those.sort(key=lambda one: newest_first(one.name))
        wrappings = tuple(_wrapping(one, one is not those[0], rings, copies.get(one.pk, ())) for one in those)
        counted = sets.get((stream, number), (0, None, None))
        found.append(ListedKey(stream, called[stream], number, number == newest[stream], wrappings, *counted))
    return found


def _newest(blobs: Iterable[tuple[uuid.UUID, int]]) -> dict[uuid.UUID, int]:
    found: dict[uuid.UUID, int] = {}
    for stream, number in blobs:
        found[stream] = max(found.get(stream, 0), number)
    return found


def _wrapping(blob: Blob, former: bool, rings: dict[int, tuple[str, ...]], copies: Sequence[KeyCopy]) -> Wrapping:
    wrapping = key_name(blob.name).wrapping
    return Wrapping(blob.name, blob.sha256, wrapping, rings.get(wrapping, (UNRECORDED,)), former, tuple(copies))


def _copies(called: dict[uuid.UUID, str]) -> dict[int, list[KeyCopy]]:
    wanted = Copy.objects.filter(Q(location__in_force=True) | Q(state=Copy.State.PRESENT), blob__kind=Blob.Kind.KEY)
    wanted = wanted if len(called) > MANY else wanted.filter(blob__stream__in=list(called))
    found: dict[int, list[KeyCopy]] = defaultdict(list)
    rows = wanted.order_by("location__position", "location__name").values_list("blob_id", "location__name", "state", "checked_at")
    for blob, location, state, checked_at in rows.iterator(chunk_size=2000):
        found[blob].append(KeyCopy(location, state, checked_at))
    return found


def _rings() -> dict[int, tuple[str, ...]]:
    return {one.wrapping: tuple(one.names) for one in KeyRingVersion.objects.all()}


def _sets(called: dict[uuid.UUID, str]) -> dict[tuple[uuid.UUID, int], tuple[int, Any, Any]]:
    wanted = BackupSet.objects.filter(state=BackupSet.State.MADE)
    wanted = wanted if len(called) > MANY else wanted.filter(stream__in=list(called))
    rows = wanted.order_by().values("stream_id", "key_number").annotate(count=Count("pk"), first=Min("night"), last=Max("night"))
    return {(one["stream_id"], one["key_number"]): (one["count"], one["first"], one["last"]) for one in rows}


def read(keys: Sequence[ListedKey], places: Sequence[Place], ring: KeyRing) -> list[ListedKey]:
    """The same with each copy as it was found just now: read at its location, held against its digest, and opened."""
    at = {place.name: place for place in places}
    return [replace(key, wrappings=tuple(_read_wrapping(one, at, ring) for one in key.wrappings)) for key in keys]


def _read_wrapping(one: Wrapping, at: dict[str, Place], ring: KeyRing) -> Wrapping:
    return replace(one, copies=tuple(_read_copy(one, copy, at.get(copy.location), ring) for copy in one.copies))


def _read_copy(one: Wrapping, copy: KeyCopy, place: Place | None, ring: KeyRing) -> KeyCopy:
    if place is None:
        return replace(copy, state=copy.state if copy.state == OWED else SILENT)
    try:
        data = place.store.get(one.name)
        state = PRESENT if sha256_of(data) == one.sha256 else DAMAGED
        if state == PRESENT:
            ring.unwrap(data)
    except Missing:
        state = OWED if copy.state == OWED else MISSING
    except KeysMissing:
        state = UNOPENED
    except StoreError:
        state = SILENT
    return replace(copy, state=state, read=True)


def segments_of(stream: uuid.UUID) -> tuple[int, int, int]:
    """How many segments that are still there have a section of the stream, the first and the last of them (0 when there is none)."""
    count, first, last = 0, 0, 0
    for number, sections in Segment.objects.order_by("number").values_list("number", "sections").iterator(chunk_size=500):
        if any(section[0] == str(stream) for section in sections):
            count, first, last = count + 1, first or number, number
    return count, first, last


def losses(ring: KeyRingVersion) -> tuple[str, ...]:
    """What losing what loses, a sentence each."""
    holders = ", ".join(ring.names[1:])
    required = list(Location.objects.filter(in_force=True).values_list("name", flat=True))
    return (
        f"Losing the online master alone loses nothing: {holders} can open every key ('keys replace-master').",
        f"Losing one recipient's secret half ({holders}) loses nothing while the online master or another of them is there.",
        "Losing the online master and all of them loses every backup, for nothing else opens a customer's key.",
        f"Losing one location of {', '.join(required)} loses nothing: each key stands at all of them, and is put back from another.",
        "Losing a customer's key at every location loses what each line below says, and only that.",
    )
