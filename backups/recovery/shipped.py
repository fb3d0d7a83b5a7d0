"""What was shipped up to the second, known again: timelines, segments and their copies, files on their way, and where numbers go on.

No number is given twice: the next segment's is behind the highest that any location lists, under an epoch that no leader before had. What
a location knows and the database does not (a part of a transaction, segments behind a gap) stops the shipper, as for any database that
went back in time; a person starts the next timeline.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audit import registry
from audit.models import ChainHead
from backups.customerkeys import key_at
from backups.errors import Gap, KeysMissing, NoLocation
from backups.hot import forks as forking
from backups.hot import sections, segments
from backups.hot.forks import Fork
from backups.hot.reading import FoundSegment, find_forks, find_removed, find_segments
from backups.hot.removed import KEPT, kept_number
from backups.hot.sections import MAX_SECTION_BYTES, BadSection, FileEntry
from backups.hot.segments import BadSegment, Index
from backups.hot.timelines import LEASE
from backups.locations import Place
from backups.models import Blob, HotFile, HotState, KeptSegment, Lease, Location, RecoveredStream, Segment, SegmentCopy, Timeline
from backups.placing import sha256_of
from backups.sealing import NotOpened, StreamKey, unseal
from backups.stores.contract import StoreError
from backups.vault import Vault

# Leaders that only a location knows which does not answer now: their epochs are passed over.
UNSEEN_LEADERS = 1000
UNKNOWN = "not known any more (recovered)"


@dataclass(frozen=True, slots=True)
class Whole:
    """A segment that some place has whole."""

    index: Index
    name: str
    data: bytes
    sealed: Mapping[str, bytes]


@dataclass(slots=True)
class Shipped:
    """`stopped` says why nothing may be shipped; empty when the database knows all that the locations do."""

    last: int = 0
    stopped: str = ""
    segments: int = 0
    notes: list[str] = field(default_factory=list)


def bring_timelines_back(vault: Vault) -> list[Fork]:
    """The rows of the later timelines, from their signed documents; before any stream, for the chains run along them. Raises `Gap`."""
    forks = find_forks(vault.places, vault.fingerprint, [])
    for fork in forks:
        Timeline.objects.get_or_create(
            number=fork.timeline,
            defaults={
                "started_at": fork.started_at,
                "started_by": UNKNOWN,
                "reason": UNKNOWN,
                "first_segment": fork.first_segment,
                "forks": {stream: [one.head.number, one.head.digest, one.highest] for stream, one in fork.leavings.items()},
            },
        )
    return forks


def bring_back(vault: Vault, forks: Sequence[Fork], tell: Callable[[str], None]) -> Shipped:
    """All of it, anew: in one transaction of the caller's. Raises `Gap`, `NoLocation`."""
    for model in (SegmentCopy, Segment, KeptSegment, HotFile, HotState):
        model.objects.all().delete()
    done = Shipped()
    found = find_segments(vault.places, done.notes)
    removed_to = _removed_to(vault, found, done.notes)
    last, epoch = max([removed_to, *found, *(fork.first_segment - 1 for fork in forks)]), 0
    known, unreadable, cut = _Known(), list[int](), last
    readable: list[FoundSegment] = []
    for number, one in found.items():
        tell(f"segment {number}")
        epoch = max([epoch, *(segments.number_and_epoch(name)[1] for name in one.names)])  # type: ignore[index]
        whole = _whole(vault.places, one, vault.fingerprint)
        if whole is None:
            unreadable.append(number)
        elif known.lacks(whole.index, forks):
            cut = min(cut, number - 1)
        else:
            readable.append(one)  # read again below: all of them together need not fit into memory
    if known.behind:
        begun = max([removed_to + 1, *(fork.first_segment for fork in forks)])
        missing = [number for number in range(begun, last + 1) if number not in found]
        cut = min([cut, *(number - 1 for number in [*missing, *unreadable] if number >= begun)])
    done.stopped = _why(known, cut, last)
    done.last, done.segments = cut if done.stopped else last, len(found)
    listed = _listed(vault.places)
    for one in readable:
        if one.number <= done.last and (whole := _whole(vault.places, one, vault.fingerprint)) is not None:
            _write_segment(whole, listed)
            _write_files(vault, whole, known)
    _write_kept(vault)
    _write_state(vault, forks, done, removed_to, last, epoch)
    return done


def _removed_to(vault: Vault, found: Iterable[int], notes: list[str]) -> int:
    """Up to which number segments were removed; where no location tells it any more, up to the first that is there."""
    try:
        record = find_removed(vault.places, vault.fingerprint, notes)
    except Gap as gap:
        notes.append(str(gap))
        return min(found, default=1) - 1
    return record.up_to if record else 0


class _Known:
    """How far each stream came back."""

    def __init__(self) -> None:
        self.heads = {str(pk): number for pk, number in ChainHead.objects.values_list("pk", "number")}
        back = RecoveredStream.objects.filter(state=RecoveredStream.State.BACK)
        self.back = {str(pk) for pk in back.values_list("pk", flat=True)}
        self.behind = {str(pk) for pk in back.filter(behind=True).values_list("pk", flat=True)}
        self.keys: dict[tuple[str, int], StreamKey] = {}

    def lacks(self, index: Index, forks: Sequence[Fork]) -> bool:
        """Whether the segment has changes of a stream that is back, and these are not."""
        beyond = False
        for entry in index.sections:
            counted = forking.counts(forks, entry.stream, of=index.timeline, number=entry.last, on=forking.newest(forks))
            if entry.stream in self.back and counted and entry.last >= entry.first and entry.last > self.heads.get(entry.stream, 0):
                self.behind.add(entry.stream)
                beyond = True
        return beyond


def _why(known: _Known, cut: int, last: int) -> str:
    if not known.behind:
        return ""
    some = "1 customer" if len(known.behind) == 1 else f"{len(known.behind)} customers"
    return (
        f"The service was recovered up to segment {cut}; the locations know of segment {last} and of changes of {some} that could not be "
        "brought back"
    )


def _whole(places: Sequence[Place], one: FoundSegment, trusted: str) -> Whole | None:
    for name in one.names:
        for place in places:
            try:
                data = place.store.get(name)
                index, sealed = segments.read(data, trusted)
            except (StoreError, BadSegment):
                continue
            if index.segment == one.number:
                return Whole(index, name, data, sealed)
    return None


def _listed(places: Iterable[Place]) -> dict[int, dict[str, int]]:
    """For each location the sizes of its segments by name; nothing for one that does not answer."""
    found: dict[int, dict[str, int]] = {pk: {} for pk in Location.objects.filter(in_force=True).values_list("pk", flat=True)}
    for place in places:
        found[place.location.pk] = {entry.name: entry.size for entry in place.store.list(segments.FOLDER)}
    return found


def _write_segment(whole: Whole, listed: Mapping[int, Mapping[str, int]]) -> None:
    index, size = whole.index, len(whole.data)
    row = Segment.objects.create(
        number=index.segment,
        epoch=index.epoch,
        timeline=index.timeline,
        name=whole.name,
        sha256=sha256_of(whole.data),
        size=size,
        made_at=index.made_at,
        until=index.until,
        changes=sum(max(entry.last - entry.first + 1, 0) for entry in index.sections),
        sections=[[entry.stream, entry.first, entry.last] for entry in index.sections],
        waiting={stream: at.isoformat() for stream, at in index.waiting.items()},
    )
    SegmentCopy.objects.bulk_create(
        SegmentCopy(segment=row, location_id=location, durable_at=index.made_at if names.get(whole.name) == size else None)
        for location, names in listed.items()
    )


# Files whose bytes the shipper stored


def _write_files(vault: Vault, whole: Whole, known: _Known) -> None:
    """So that their blobs are kept for the segment until sets cover it."""
    for entry in whole.index.sections:
        if entry.stream not in known.back or entry.plain_size == 0:
            continue
        for file in _files_in(vault, whole, entry.stream, entry.key, known):
            _write_file(entry.stream, file, whole.index, entry.last)


def _files_in(vault: Vault, whole: Whole, stream: str, number: int, known: _Known) -> Iterator[FileEntry]:
    try:
        if (stream, number) not in known.keys:
            known.keys[stream, number] = key_at(vault.keys, vault.places, stream, number, [])
        plain = unseal(whole.sealed[stream], known.keys[stream, number].identity, limit=MAX_SECTION_BYTES)
        yield from sections.read(plain, stream=stream).files
    except (KeysMissing, NoLocation, NotOpened, BadSection):
        return  # nothing of it was needed: the stream is back without it


def _write_file(stream: str, file: FileEntry, index: Index, number: int) -> None:
    blobs = {blob.sha256: blob for blob in Blob.objects.filter(stream=uuid.UUID(stream), sha256__in=[part[0] for part in file.parts or ()])}
    if any(part[0] not in blobs for part in file.parts or ()):
        return
    HotFile.objects.get_or_create(
        stream_id=uuid.UUID(stream),
        model=file.model,
        name=file.name,
        defaults={
            "field": _field(file.model),
            "sha256": file.sha256,
            "size": file.size,
            "number": number,
            "written_at": index.made_at,
            "state": HotFile.State.ABSENT if file.parts is None else HotFile.State.STORED,
            "parts": [[*part, blobs[part[0]].pk] for part in file.parts or ()],
            "key": file.key,
            "segment": index.segment,
        },
    )
    Blob.objects.filter(pk__in=[blob.pk for blob in blobs.values()]).update(hot=True)


def _field(label: str) -> str:
    protected = registry.by_label(label)
    return protected.files[0].attname if protected and protected.files else ""


# What goes on from here


def _write_kept(vault: Vault) -> None:
    for place in vault.places:
        for entry in place.store.list(KEPT):
            found = kept_number(entry.name)
            if found is None or KeptSegment.objects.filter(name=entry.name).exists():
                continue
            try:
                index, _ = segments.read(place.store.get(entry.name), vault.fingerprint)
            except (StoreError, BadSegment):
                continue
            KeptSegment.objects.create(number=found[0], name=entry.name, sections=[[one.stream, one.last] for one in index.sections])


def _write_state(vault: Vault, forks: Sequence[Fork], done: Shipped, removed_to: int, last: int, epoch: int) -> None:
    now: datetime = vault.clock()
    HotState.objects.create(
        pk=1,
        timeline=forking.newest(forks),
        last_segment=done.last,
        removed_to=removed_to,
        stopped=done.stopped,
        stopped_at=now if done.stopped else None,
        recovered_segment=last,
        recovered_epoch=epoch + UNSEEN_LEADERS,
    )
    Lease.objects.update_or_create(name=LEASE, defaults={"epoch": epoch + UNSEEN_LEADERS, "taken_at": now, "expires_at": now})
