"""Which objects of the hot folder hold sections of one stream: segments, what was kept of them, and damaged ones that were set aside."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backups.hot import segments
from backups.hot.reading import BEGINNING
from backups.hot.removed import kept_number
from backups.hot.segments import FOLDER, BadSegment, Index, number_and_epoch
from backups.locations import Place
from backups.models import HotState, KeptSegment, Segment
from backups.stores.contract import Missing
from backups.verification.setting_aside import HOT_FOLDER

# What keeps the caller's lease while much is listed or read.
Keep = Callable[[], object]
_NUMBERED = re.compile(r"(\d{12,})-\d+\.tar")


@dataclass(frozen=True, slots=True)
class HotObject:
    """`number` is the segment's. `known`: a row of this database tells of it, so the removal of segments lets it go. `shared`: others have
    sections in it too."""

    name: str
    size: int
    number: int
    known: bool
    shared: bool

    @property
    def aside(self) -> bool:
        return self.name.startswith(HOT_FOLDER)


@dataclass(frozen=True)
class _Rows:
    """What the rows say: by number (of a kept one by name) the streams that have a section in it."""

    segments: dict[int, frozenset[str]]
    kept: dict[str, frozenset[str]]
    removed_to: int


def of_stream(place: Place, stream: uuid.UUID, trusted: str, *, read_all: bool = False, keep: Keep = lambda: None) -> list[HotObject]:
    """Those at the place, hidden versions and unfinished uploads included. With `read_all` each one's own index is asked, and no row.

    `keep` is called before each. Raises what the store raises."""
    known = _rows()
    asked = _Rows({}, {}, 0) if read_all else known
    found = {entry.name: entry.size for entry in place.store.list(FOLDER)}
    ours = []
    for name, size in found.items():
        keep()
        one = _looked_at(place, name, size, str(stream), asked, trusted)
        ours += [one] if one is not None else []
    return [*ours, *_hidden(place, found, str(stream), known)]


def _rows() -> _Rows:
    named = {number: frozenset(one[0] for one in sections) for number, sections in Segment.objects.values_list("number", "sections")}
    kept = {name: frozenset(one[0] for one in sections) for name, sections in KeptSegment.objects.values_list("name", "sections")}
    return _Rows(named, kept, HotState.objects.filter(pk=1).values_list("removed_to", flat=True).first() or 0)


def _looked_at(place: Place, name: str, size: int, stream: str, rows: _Rows, trusted: str) -> HotObject | None:
    if name.startswith(HOT_FOLDER):
        return _aside(place, name, size, stream, rows)
    number = (number_and_epoch(name) or kept_number(name) or (0, 0))[0]
    if not number:
        return None
    streams = rows.kept.get(name) if kept_number(name) else rows.segments.get(number)
    known = streams is not None
    if streams is None:
        streams = _streams_in(place, name, stream, trusted)
    return HotObject(name, size, number, known, len(streams) > 1) if stream in streams else None


def _streams_in(place: Place, name: str, stream: str, trusted: str) -> frozenset[str]:
    """By its own index; of one that cannot be read by the id in its bytes, and then it counts as shared, for nobody knows."""
    try:
        index = _index(place, name, trusted)
        return frozenset(entry.stream for entry in index.sections)
    except BadSegment:
        return frozenset({stream, "unreadable"}) if stream.encode() in place.store.get(name) else frozenset()
    except Missing:
        return frozenset()  # removed since it was listed


def _index(place: Place, name: str, trusted: str) -> Index:
    beginning = segments.index_at(place.store.read(name, 0, BEGINNING), trusted)
    return beginning if beginning is not None else segments.read(place.store.get(name), trusted)[0]


def _aside(place: Place, name: str, size: int, stream: str, rows: _Rows) -> HotObject | None:
    """Wrong bytes that stood for a segment; its index may be what is wrong with it, so its segment's row is asked first."""
    numbered = _NUMBERED.search(name)
    if numbered is None:
        return None
    number = int(numbered[1])
    streams = rows.segments.get(number)
    try:
        ours = stream in streams if streams is not None else stream.encode() in place.store.get(name)
    except Missing:
        return None
    return HotObject(name, size, number, False, False) if ours else None


def _hidden(place: Place, listed: dict[str, int], stream: str, rows: _Rows) -> Iterator[HotObject]:
    """What no listing shows of segments that named the stream, or that were removed: nobody's any more. What is being put now is left."""
    for name in sorted({leftover.name for leftover in place.store.leftovers(FOLDER)} - listed.keys()):
        numbered = _NUMBERED.search(name)
        number = int(numbered[1]) if numbered else 0
        if number and (stream in rows.segments.get(number, ()) or (number <= rows.removed_to and number not in rows.segments)):
            yield HotObject(name, 0, number, False, False)
