"""The heads of the customers' chains that were signed and lie at the locations: in sets' envelopes and in segments' indexes (P8).

Whoever can write to the database can compute a chain anew, and sign nothing: each head is held against what the journal says of its number.
Segments are read before the sets, so that one which is removed meanwhile is covered by a set that is still to be read.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from audit import journal_proof
from audit.chain import START, Head
from audit.journal_proof import Misfit
from audit.signing import BadSignature, verify
from backups.hot import timelines
from backups.hot.segments import FOLDER, BadSegment, number_and_epoch, read
from backups.locations import Place
from backups.reading import find_sets
from backups.stores.contract import Missing, StoreError

# Held against the journal together.
TOGETHER = 400
ENDED = "ended/"


@dataclass(frozen=True, slots=True)
class SignedHead:
    """That a stream's chain had this digest at this number, and which signed object says so."""

    stream: uuid.UUID
    head: Head
    timeline: int
    where: str


@dataclass(slots=True)
class Vouched:
    """What the signed heads came to: how many there are in how many sets and segments, and up to which number they vouch, by stream.
    `notes` are objects that could not be read or do not count."""

    heads: int = 0
    sets: int = 0
    segments: int = 0
    up_to: dict[uuid.UUID, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def misfits(
    places: Sequence[Place],
    trusted: str,
    streams: Iterable[uuid.UUID],
    connection: BaseDatabaseWrapper,
    vouched: Vouched,
    tell: Callable[[str], None],
    further: Iterable[SignedHead] = (),
) -> Iterator[Misfit]:
    """The signed heads of these streams that the journal contradicts, and those of `further` (from anchors), whosever they are. The
    connection must see what was committed before it is asked, so it is no snapshot's."""
    ended = ended_streams(places, trusted, vouched.notes)
    wanted = set(streams) - ended  # what was destroyed is missing rightly
    lines = signed_timelines(places, trusted, vouched.notes)
    anchored = (one for one in further if one.stream not in ended)
    found = itertools.chain(anchored, _all(places, trusted, wanted, vouched, tell))
    heads = (one for one in found if one.head.number and not _given_up(one, lines))
    for some in _together(heads):
        known = journal_proof.journal_digests(connection, [(one.stream, one.head.number) for one in some])
        for one in some:
            vouched.heads += 1
            vouched.up_to[one.stream] = max(one.head.number, vouched.up_to.get(one.stream, 0))
            if what := _misfit(one, known.get((one.stream, one.head.number)), lines):
                yield Misfit(one.stream, what, one.head.number)


def _misfit(one: SignedHead, digest: str | None, lines: Mapping[int, Mapping[str, Sequence[Any]]]) -> str:
    landings = [Head(highest, digest) for forks in lines.values() for _, digest, highest in [forks.get(str(one.stream), (0, "", 0))]]
    if digest == one.head.digest or (digest is None and one.head in landings):
        return ""
    if digest is None:
        return f"{one.where} is signed with this number, and the journal has no such change: removed behind our back"
    return f"{one.where} is signed with another digest: this change or one before it was altered, and the chain computed anew"


def _given_up(one: SignedHead, lines: Mapping[int, Mapping[str, Sequence[Any]]]) -> bool:
    """Whether a later timeline left the line before that number: then it was given up, by a person."""
    leaves = (forks[str(one.stream)][0] for number, forks in lines.items() if number > one.timeline and str(one.stream) in forks)
    return any(one.head.number > number for number in leaves)


def signed_timelines(places: Sequence[Place], trusted: str, notes: list[str]) -> dict[int, Mapping[str, Sequence[Any]]]:
    """The members `forks` of the timelines' signed documents, by number."""
    found: dict[int, Mapping[str, Sequence[Any]]] = {}
    for place, name in _listed(places, timelines.TIMELINES, notes):
        try:
            document = verify(json.loads(place.store.get(name)), trusted)
            found[document["timeline"]] = document["forks"]
        except (StoreError, BadSignature, ValueError, KeyError) as problem:
            notes.append(f"{name} at {place.name} does not count: {problem}")
    return found


def ended_streams(places: Sequence[Place], trusted: str, notes: list[str]) -> set[uuid.UUID]:
    """The customers that a signed marker at any of the places calls destroyed."""
    found = set()
    for place, name in _listed(places, ENDED, notes):
        try:
            verify(json.loads(place.store.get(name)), trusted)
            found.add(uuid.UUID(name.removeprefix(ENDED).removesuffix(".json")))
        except (StoreError, BadSignature, ValueError) as problem:
            notes.append(f"{name} at {place.name} does not count: {problem}")
    return found


def _all(
    places: Sequence[Place], trusted: str, streams: set[uuid.UUID], vouched: Vouched, tell: Callable[[str], None]
) -> Iterator[SignedHead]:
    yield from _of_segments(places, trusted, streams, vouched, tell)
    for stream in sorted(streams):
        yield from _of_sets(places, trusted, stream, vouched)
        tell(f"{vouched.sets:,} sets read")


def _of_segments(
    places: Sequence[Place], trusted: str, streams: set[uuid.UUID], vouched: Vouched, tell: Callable[[str], None]
) -> Iterator[SignedHead]:
    for place, name in _listed(places, FOLDER, vouched.notes):
        if number_and_epoch(name) is None:
            continue
        try:
            index, _ = read(place.store.get(name), trusted)
        except Missing:
            continue  # removed since it was listed, for sets cover it
        except (StoreError, BadSegment) as problem:
            vouched.notes.append(f"{name} at {place.name} does not count: {problem}")
            continue
        vouched.segments += 1
        tell(f"{vouched.segments:,} segments read")
        for entry in index.sections:
            stream = uuid.UUID(entry.stream)
            if stream in streams:
                yield SignedHead(stream, Head(entry.last, entry.digest), index.timeline, f"segment {index.segment} at {place.name}")


def _of_sets(places: Sequence[Place], trusted: str, stream: uuid.UUID, vouched: Vouched) -> Iterator[SignedHead]:
    for found in find_sets(places, str(stream), trusted, vouched.notes):
        journal = found.envelope.get("journal") or {"number": 0, "digest": START.digest, "timeline": 1}  # older sets have none
        vouched.sets += 1
        where = f"set {found.id:.8} at {', '.join(found.places)}"
        yield SignedHead(stream, Head(journal["number"], journal["digest"]), journal["timeline"], where)


def _listed(places: Sequence[Place], prefix: str, notes: list[str]) -> Iterator[tuple[Place, str]]:
    for place in places:
        try:
            names = [entry.name for entry in place.store.list(prefix)]
        except StoreError as problem:
            notes.append(f"{place.name} cannot be listed ({problem})")
            continue
        yield from ((place, name) for name in names)


def _together(heads: Iterable[SignedHead]) -> Iterator[list[SignedHead]]:
    some: list[SignedHead] = []
    for one in heads:
        some.append(one)
        if len(some) == TOGETHER:
            yield some
            some = []
    if some:
        yield some
