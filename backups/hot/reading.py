"""Reading segments from locations, without the database: a stream's changes after a set, in their order, none left out (design section 6).

A segment may lie under several names (one for each leader that wrote it) at several places: the first whole one serves, and `notes` says
what was wrong with the others. What is nowhere whole, and every gap in the numbers of segments or changes, is a `Gap` that says where;
never a shorter history.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

from audit import chain
from audit.chain import Head
from audit.signing import BadSignature, verify
from backups import customerkeys
from backups.errors import Gap, NoLocation
from backups.hot import forks as timelines
from backups.hot import removed, sections, segments
from backups.hot.forks import BadTimeline, Fork
from backups.hot.removed import KEPT, REMOVED, BadRecord, Record, kept_number, record_name, recorded_number
from backups.hot.sections import MAX_SECTION_BYTES, BadSection, Change, FileEntry, Section
from backups.hot.segments import BadSegment, Index
from backups.keyfiles import KeyRing
from backups.locations import Place
from backups.sealing import NotOpened, StreamKey, unseal
from backups.stores.contract import StoreError

# So many are fetched while one is worked on: a far location takes its time for each.
AHEAD = 4
# As much of a segment as is read for its index alone.
BEGINNING = 64 * 1024
TIMELINES = "hot/timelines/"


class MissingSegment(Gap):
    """A segment that is nowhere whole, or nowhere at all, while a later one is."""


@dataclass(frozen=True, slots=True)
class FoundSegment:
    """One number: its names, those of the newest leader first, and the names of the places that list any of them."""

    number: int
    names: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenedSegment:
    """What one segment says of one stream: `section` is None when it has nothing of it."""

    index: Index
    section: Section | None = None
    key: StreamKey | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A change with the digest of the chain after it."""

    change: Change
    digest: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one segment adds to a stream: the changes that follow what was known, and where files lie."""

    index: Index
    links: list[Link] = field(default_factory=list)
    files: list[FileEntry] = field(default_factory=list)
    models: dict[str, dict] = field(default_factory=dict)
    key: StreamKey | None = None


def find_segments(places: Sequence[Place], notes: list[str], *, after: int = 0) -> dict[int, FoundSegment]:
    """The segments behind number `after` that any place lists, by number. A place that cannot be listed is noted; `NoLocation` if all."""
    names: dict[int, dict[str, int]] = {}
    where: dict[int, list[str]] = {}
    listed = 0
    for place in places:
        try:
            for entry in place.store.list(segments.FOLDER):
                known = segments.number_and_epoch(entry.name)
                if known is None or known[0] <= after:
                    continue
                names.setdefault(known[0], {})[entry.name] = known[1]
                if place.name not in where.setdefault(known[0], []):
                    where[known[0]].append(place.name)
        except StoreError as problem:
            notes.append(f"the segments at {place.name} cannot be listed ({problem})")
        else:
            listed += 1
    if places and not listed:
        raise NoLocation(f"No location can list its segments: {'; '.join(notes)}.")
    return {
        number: FoundSegment(number, tuple(sorted(named, key=lambda name: -named[name])), tuple(where[number]))
        for number, named in sorted(names.items())
    }


def find_removed(places: Sequence[Place], trusted: str, notes: list[str]) -> Record | None:
    """What the newest record says of segments that were removed; None where there is none. `Gap` when it is nowhere whole."""
    names: dict[int, list[Place]] = {}
    for place in places:
        try:
            for entry in place.store.list(REMOVED):
                number = recorded_number(entry.name)
                if number is not None:
                    names.setdefault(number, []).append(place)
        except StoreError as problem:
            notes.append(f"what was removed at {place.name} cannot be listed ({problem})")
    if not names:
        return None
    newest, troubles = max(names), []
    for place in names[newest]:
        try:
            return removed.of_document(verify(json.loads(place.store.get(record_name(newest))), trusted))
        except (StoreError, BadSignature, BadRecord, ValueError) as problem:
            troubles.append(f"{record_name(newest)} at {place.name} does not count: {problem}")
    raise Gap(f"Which segments were removed is not known any more: {'; '.join(troubles)}.")


def find_kept(places: Sequence[Place], record: Record | None, stream: str) -> dict[int, FoundSegment]:
    """The segments whose sections were kept for the stream; without those that no place lists."""
    wanted = set(record.kept.get(stream, ())) if record else set()
    names: dict[int, dict[str, int]] = {}
    for place in places if wanted else ():
        for entry in place.store.list(KEPT):
            known = kept_number(entry.name)
            if known is not None and known[0] in wanted:
                names.setdefault(known[0], {})[entry.name] = known[1]
    everywhere = tuple(place.name for place in places)
    return {
        number: FoundSegment(number, tuple(sorted(named, key=lambda name: -named[name])), everywhere) for number, named in names.items()
    }


def find_forks(places: Sequence[Place], trusted: str, notes: list[str]) -> list[Fork]:
    """How each later timeline began. What does not verify at one place is noted and taken from another; `Gap` when it is nowhere whole."""
    found: dict[int, Fork] = {}
    wanted: dict[int, list[str]] = {}
    for place in places:
        for timeline in _timelines_at(place, notes):
            try:
                document = verify(json.loads(place.store.get(timelines.name_of(timeline))), trusted)
                found.setdefault(timeline, timelines.of_document(document, timeline))
            except (StoreError, BadSignature, BadTimeline, ValueError) as problem:
                wanted.setdefault(timeline, []).append(f"{timelines.name_of(timeline)} at {place.name} does not count: {problem}")
    for timeline, troubles in wanted.items():
        if timeline not in found:
            raise Gap(f"How timeline {timeline} began is not known any more: {'; '.join(troubles)}.")
        notes += troubles
    return [found[timeline] for timeline in sorted(found)]


def _timelines_at(place: Place, notes: list[str]) -> list[int]:
    try:
        names = [entry.name.removeprefix(TIMELINES).removesuffix(".json") for entry in place.store.list(TIMELINES)]
    except StoreError as problem:
        notes.append(f"the timelines at {place.name} cannot be listed ({problem})")
        return []
    return [int(name) for name in names if name.isdecimal()]


def _with(found: FoundSegment | None, kept: FoundSegment) -> FoundSegment:
    """The same number under the names of what was kept of it too: it may be on its way out."""
    return kept if found is None else replace(found, names=(*found.names, *kept.names))


@dataclass
class SegmentReader:
    """One stream's sections at these places. `keys` unwrap the stream's keys; `trusted` is the signing key's fingerprint."""

    places: Sequence[Place]
    stream: str
    keys: KeyRing
    trusted: str
    notes: list[str]
    record: Record | None = None
    _opened_keys: dict[int, StreamKey] = field(default_factory=dict)

    def each(self, found: dict[int, FoundSegment], after: int) -> Generator[OpenedSegment, None, None]:
        """What each segment behind `after` says of the stream, in the order of numbers. Raises `MissingSegment` when it comes to a number
        that is missing while a later one is there, or that is nowhere whole; `KeysMissing`, `NoLocation` for the stream's key. What the
        record says was removed is missing rightly, unless it was kept for the stream."""
        kept = find_kept(self.places, self.record, self.stream)
        found = found | {number: _with(found.get(number), one) for number, one in kept.items()}
        numbers = iter(sorted(number for number in found if number > after))
        waiting: deque[tuple[int, Future[OpenedSegment]]] = deque()
        before = after
        executor = ThreadPoolExecutor(AHEAD, thread_name_prefix="segments")
        try:
            while True:
                while len(waiting) < AHEAD and (number := next(numbers, None)) is not None:
                    waiting.append((number, executor.submit(self.open, found[number])))
                if not waiting:
                    self._refuse_missing(before, max(before, self._removed_to) + 1)
                    return
                number, opened = waiting.popleft()
                self._refuse_missing(before, number)
                before = number
                try:
                    yield opened.result()
                except MissingSegment as problem:
                    if number > self._removed_to or number in kept:
                        raise
                    self.notes.append(f"{problem} It was being removed, for sets hold what it had")
        finally:
            executor.shutdown(cancel_futures=True)

    @property
    def _removed_to(self) -> int:
        return self.record.up_to if self.record else 0

    def _refuse_missing(self, before: int, number: int) -> None:
        kept = self.record.kept.get(self.stream, ()) if self.record else ()
        first = min((one for one in kept if before < one < number), default=max(before, self._removed_to) + 1)
        last = number - 1
        if first > last:
            return
        missing = f"Segment {first} is" if first == last else f"Segments {first} to {last} are"
        raise MissingSegment(
            f"{missing} missing at {' and '.join(place.name for place in self.places)}, and segment {number} is there: what was shipped in "
            "between is not known. Give back the location that has it, or ask for a moment before the gap or of a set after it."
        )

    def open(self, found: FoundSegment) -> OpenedSegment:
        """The segment with the stream's section, from the first place that has it whole; what was wrong elsewhere goes to the notes.

        Under several names it is read once from each, for they must say the same of the changes; their files are taken together.
        """
        opened: list[OpenedSegment] = []
        troubles: list[str] = []
        for name in found.names:
            whole = self._open_name(found.number, name, troubles)
            if whole is not None:
                opened.append(whole)
        if not opened:
            raise MissingSegment(f"Segment {found.number} is nowhere whole: {'; '.join(troubles)}.")
        self.notes += [f"{trouble}: taken from elsewhere" for trouble in troubles]
        return self._agreeing(found.number, opened)

    def _open_name(self, number: int, name: str, troubles: list[str]) -> OpenedSegment | None:
        found: list[str] = []
        for place in self.places:
            try:
                opened = self._opened(number, place.store.get(name))
            except (StoreError, BadSegment, BadSection, NotOpened) as problem:
                found.append(f"{name} cannot be used at {place.name} ({problem})")
            else:
                troubles += found
                return opened
        troubles += found
        return None

    def _opened(self, number: int, data: bytes) -> OpenedSegment:
        index, sealed = segments.read(data, self.trusted)
        if index.segment != number:
            raise BadSegment(f"it is segment {index.segment} under the name of {number}")
        entry = index.of(self.stream)
        if entry is None:
            return OpenedSegment(index)
        key = self.key(entry.key)
        section = sections.read(unseal(sealed[self.stream], key.identity, limit=MAX_SECTION_BYTES), stream=self.stream)
        about = (section.segment, section.timeline, section.before.number + 1, section.head.number, section.head.digest)
        if about != (number, index.timeline, entry.first, entry.last, entry.digest):
            raise BadSection(f"the section of {self.stream} is not the one that the index of segment {number} names")
        return OpenedSegment(index, section, key)

    def key(self, number: int) -> StreamKey:
        if number not in self._opened_keys:
            self._opened_keys[number] = customerkeys.key_at(self.keys, self.places, self.stream, number, self.notes)
        return self._opened_keys[number]

    def _agreeing(self, number: int, opened: Sequence[OpenedSegment]) -> OpenedSegment:
        first, *others = opened
        if any(_told(one) != _told(first) for one in others):
            raise Gap(f"Segment {number} stands under {len(opened)} names that tell of different changes: none of them can be trusted.")
        files = {(entry.model, entry.name): entry for one in reversed(opened) if one.section for entry in one.section.files}
        return replace(first, section=replace(first.section, files=list(files.values()))) if first.section and others else first


def _told(opened: OpenedSegment) -> tuple[Head, Head] | None:
    return (opened.section.before, opened.section.head) if opened.section else None


def followed(opened: Iterable[OpenedSegment], head: Head, *, stream: str, forks: Sequence[Fork], on: int) -> Iterator[Stretch]:
    """From segment to segment, the changes that follow `head` on timeline `on` (pure). Ends where a later timeline begins.

    A change that was known before is left out; `Gap` where numbers are missing or the chain does not hold.
    """
    for one in opened:
        if one.index.timeline > on:
            return
        if one.section is None:
            yield Stretch(one.index)
            continue
        links = list(_following(one.section, head, stream, forks, on))
        if links:
            head = Head(links[-1].change.number, links[-1].digest)
        yield Stretch(one.index, links, one.section.files, one.section.models, one.key)


def _following(section: Section, head: Head, stream: str, forks: Sequence[Fork], on: int) -> Iterator[Link]:
    running = section.before
    for change in section.changes:
        if not timelines.counts(forks, stream, of=section.timeline, number=change.number, on=on):
            return
        before = timelines.onward(forks, stream, head, on=on)
        if change.number == before.number + 1 and running != before:
            raise Gap(
                f"The changes of segment {section.segment} do not follow from what is known: change {head.number} has another digest there."
            )
        if change.number > before.number + 1:
            raise Gap(
                f"Changes {before.number + 1} to {change.number - 1} are missing before segment {section.segment}, which begins with "
                f"change {change.number}."
            )
        running = chain.following(running, change.leaf)
        if change.number == head.number and running != head:
            raise Gap(f"Change {change.number} in segment {section.segment} is another one than the one that is known.")
        if change.number > head.number:
            head = running
            yield Link(change, running.digest)


def until_of(found: FoundSegment, places: Sequence[Place], trusted: str, stream: str, notes: list[str]) -> datetime | None:
    """Until when the segment knows all of the stream; None, and a note, when none of these places lets it be read."""
    troubles = []
    for place in places:
        for name in found.names if place.name in found.places else ():
            try:
                return _index_at(place, name, trusted).until_of(stream)
            except (StoreError, BadSegment) as problem:
                troubles.append(f"{name} at {place.name} cannot be used ({problem})")
    notes += troubles
    return None


def _index_at(place: Place, name: str, trusted: str) -> Index:
    beginning = segments.index_at(place.store.read(name, 0, BEGINNING), trusted)
    return beginning or segments.read(place.store.get(name), trusted)[0]
