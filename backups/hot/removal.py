"""Segments leave once sets hold what they say: every customer in them has a protected, proved set that covers its numbers (design section
6).

A destroyed customer needs nothing: its sections hold nobody up, are copied out for nobody, and while segments still name it what others
need of them is copied out at once.

Never: a segment that some customer still needs, or one that a location does not have yet; anything while the database is known to be behind
a location. In this order, each step read back before the next: sections of customers whose sets fail are copied out (`hot/kept/`), so that
they hold nobody else up; a signed record at every location says up to which number segments were removed and what was kept, so that what is
missing for another reason still shows; then the segments go, everywhere, and last their rows. Killed anywhere, it goes on.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db.models import Max

from backups import leases
from backups.errors import BackupError, NoLocation
from backups.hot import segments, timelines
from backups.hot.removed import REMOVED, Record, kept_name, record_name
from backups.hot.segments import FOLDER, BadSegment, Index
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import BackupSet, Blob, HotFile, HotState, KeptSegment, Segment, SegmentCopy
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import standing

LEASE = "hot-removal"
# A customer without a good set for so long holds the others' segments up no more.
PATIENCE = timedelta(days=2)
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Shipped:
    """A segment as the decision needs it: `sections` are (stream, last number); `everywhere`: no location is owed it; `names_ended`: a
    destroyed customer has a section in it, which is not among these."""

    number: int
    made_at: datetime
    sections: tuple[tuple[str, int], ...]
    everywhere: bool
    names_ended: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """Segments up to `up_to` go; of these, the sections of `kept` streams are copied out, by number. `why` it ends there."""

    up_to: int
    kept: Mapping[int, tuple[str, ...]]
    why: str


def decide(shipped: Iterable[Shipped], covered: Mapping[str, int], now: datetime) -> Decision:
    """How far the oldest segments can go, given in order (pure). `covered` is the newest number in a protected, proved set, by stream."""
    shipped = list(shipped)
    at_once = max((one.number for one in shipped if one.names_ended), default=0)
    up_to, kept, why = 0, dict[int, tuple[str, ...]](), "nothing was shipped"
    for one in shipped:
        needed = tuple(stream for stream, last in one.sections if covered.get(stream, 0) < last)
        if not one.everywhere:
            return Decision(up_to, kept, f"segment {one.number} is not at every location yet")
        if needed and one.number > at_once and now - one.made_at < PATIENCE:
            return Decision(up_to, kept, f"segment {one.number} waits for the next set of {len(needed)} customers")
        if needed:
            kept[one.number] = needed
        up_to, why = one.number, "every segment is covered"
    return Decision(up_to, kept, why)


@dataclass(frozen=True, slots=True)
class Removed:
    """How many segments went, how many were copied out in part, up to which number nothing is left, and why it ended there."""

    segments: int
    kept: int
    up_to: int
    why: str


def remove_covered(vault: Vault, now: datetime) -> Removed:
    """One pass. Raises `Busy`, `Stopped`, `NoLocation` (every location must answer), `BackupError` where a section to be kept is nowhere
    whole, and what a store refuses."""
    timelines.refuse_stopped()
    ended = frozenset(str(stream) for stream in standing.ended())
    with leases.holding(LEASE, doing="removing segments", clock=vault.clock) as lease:
        removed_to = _state().removed_to
        decision = decide(_shipped(removed_to, ended), _covered(), now)
        _let_go_of_kept(vault, lease, ended)
        if decision.up_to <= removed_to:
            return Removed(0, 0, removed_to, decision.why)
        places = _all_places(vault)
        for number, streams in decision.kept.items():
            _keep_of(vault, places, lease, number, streams, Segment.objects.get(pk=number).name)
        _write_record(vault, places, decision.up_to)
        count = _remove(places, lease, decision.up_to)
        _forget(lease, decision.up_to)
    return Removed(count, len(decision.kept), decision.up_to, decision.why)


def _all_places(vault: Vault) -> Sequence[Place]:
    places, troubles = vault.usable()
    if troubles:
        raise NoLocation("Every location must answer: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    return places


def _state() -> HotState:
    state, _ = HotState.objects.get_or_create(pk=1)
    return state


def _shipped(after: int, ended: Collection[str]) -> Iterator[Shipped]:
    rows = Segment.objects.filter(number__gt=after).order_by("number").values_list("number", "made_at", "sections")[:MOST]
    owed = set(SegmentCopy.objects.filter(durable_at=None, location__in_force=True).values_list("segment", flat=True)[: MOST + 1])
    waiting = set(HotFile.objects.filter(segment=None).values_list("stream", flat=True))
    for number, made_at, sections in rows:
        named = tuple((stream, last) for stream, _, last in sections if stream not in ended)
        everywhere = number not in owed and not any(uuid.UUID(stream) in waiting for stream, _ in named)
        yield Shipped(number, made_at, named, everywhere, len(named) < len(sections))


def _covered() -> dict[str, int]:
    good = BackupSet.objects.filter(state=BackupSet.State.MADE, protected_at__isnull=False, proof=BackupSet.Proof.PROVED, absent_files=0)
    newest = good.order_by().values_list("stream").annotate(newest=Max("journal_number"))
    return {str(stream): number or 0 for stream, number in newest}


# What is kept


def _keep_of(vault: Vault, places: Sequence[Place], lease: Held, number: int, streams: Sequence[str], source: str) -> None:
    """The sections of these streams, out of the segment `source`, as a segment of its own, at every place."""
    index, sealed = _whole(vault, places, source)
    wanted = replace(index, epoch=lease.epoch, sections=tuple(entry for entry in index.sections if entry.stream in streams))
    data = segments.written(wanted, sealed, vault.signer)
    name = kept_name(number, lease.epoch)
    with fenced(lease):
        about = {"sha256": sha256_of(data), "size": len(data), "sections": [[entry.stream, entry.last] for entry in wanted.sections]}
        KeptSegment.objects.create(number=number, name=name, **about)
    for place in places:
        lease.keep()
        put_and_read_back(place.store, name, data, sha256_of(data))


def _whole(vault: Vault, places: Sequence[Place], name: str) -> tuple[Index, dict[str, bytes]]:
    troubles = []
    for place in places:
        try:
            return segments.read(place.store.get(name), vault.fingerprint)
        except (StoreError, BadSegment) as problem:
            troubles.append(f"{place.name}: {problem}")
    raise BackupError(f"{name} is nowhere whole, and a customer still needs it: {'; '.join(troubles)}")


def _let_go_of_kept(vault: Vault, lease: Held, ended: Collection[str]) -> None:
    """What was kept for a customer goes once a set of it covers that."""
    covered = _covered()
    for kept in KeptSegment.objects.order_by("number"):
        if not any(covered.get(stream, 0) < last for stream, last in kept.sections if stream not in ended):
            _remove_kept(vault, lease, kept)


def _remove_kept(vault: Vault, lease: Held, kept: KeptSegment) -> None:
    lease.keep()
    for place in vault.places:
        place.store.remove(kept.name)
    with fenced(lease):
        kept.delete()


def keep_without_ended(vault: Vault) -> int:
    """What was kept for others beside a destroyed customer is kept anew without it, and then the former object goes; how many. In a turn of
    its own, so that no name is one that a removal has just given. Raises as `remove_covered`."""
    timelines.refuse_stopped()
    ended = frozenset(str(stream) for stream in standing.ended())
    with leases.holding(LEASE, doing="removing segments", clock=vault.clock) as lease:
        named = [one for one in KeptSegment.objects.order_by("number") if ended & {stream for stream, _ in one.sections}]
        if not named:
            return 0
        places = _all_places(vault)
        for kept in named:
            others = tuple(stream for stream, _ in kept.sections if stream not in ended)
            if others:
                _keep_of(vault, places, lease, kept.number, others, kept.name)
            _remove_kept(vault, lease, kept)
    return len(named)


# What is said of it


def _write_record(vault: Vault, places: Sequence[Place], up_to: int) -> None:
    kept: dict[str, list[int]] = {}
    for one in KeptSegment.objects.order_by("number"):
        for stream, _ in one.sections:
            kept.setdefault(stream, []).append(one.number)
    last = Segment.objects.get(pk=up_to)
    waiting = {stream: datetime.fromisoformat(at) for stream, at in last.waiting.items()}
    record = Record(up_to, last.until, {stream: tuple(numbers) for stream, numbers in kept.items()}, _covered(), waiting)
    signed = vault.signer.sign(record.document() | {"at": vault.clock().astimezone(UTC).isoformat()})
    data = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    for place in places:
        put_and_read_back(place.store, record_name(up_to), data, sha256_of(data))


# What goes


def _remove(places: Sequence[Place], lease: Held, up_to: int) -> int:
    """Every segment up to that number that this database knows, under all its names, and the records that a later one replaces. Returns how
    many numbers went. (What another timeline left is nobody's to remove here.)"""
    gone: set[int] = set()
    known = set(Segment.objects.filter(number__lte=up_to).values_list("number", flat=True))
    for place in places:
        for entry in list(place.store.list(FOLDER)):
            found = segments.number_and_epoch(entry.name)
            if found is not None and found[0] in known:
                lease.keep()
                place.store.remove(entry.name)
                gone.add(found[0])
            elif entry.name.startswith(REMOVED) and entry.name < record_name(up_to):
                place.store.remove(entry.name)
    return len(gone)


def _forget(lease: Held, up_to: int) -> None:
    """The rows. From here on the blobs of files that the segments named are kept for the sets that name them, and for nothing else."""
    with fenced(lease):
        kept = {(uuid.UUID(stream), one.number) for one in KeptSegment.objects.all() for stream, _ in one.sections}
        files = [one for one in HotFile.objects.filter(segment__lte=up_to) if (one.stream_id, one.segment) not in kept]
        needed = {part[3] for one in HotFile.objects.exclude(pk__in=[file.pk for file in files]) for part in one.parts}
        Blob.objects.filter(pk__in={part[3] for one in files for part in one.parts} - needed).update(hot=False)
        HotFile.objects.filter(pk__in=[file.pk for file in files]).delete()
        Segment.objects.filter(number__lte=up_to).delete()
        HotState.objects.filter(pk=1).update(removed_to=up_to)
