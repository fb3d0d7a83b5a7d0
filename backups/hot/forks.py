"""Which changes count on which timeline (pure; design section 4, docs/format.md).

A database that went back in time knows less than the locations. A person begins the next timeline: its document says of each stream that
had gone further with which change (number and digest) the new line leaves the old one, and up to which number the old line had gone: the
chain goes on from that digest with the number after it, for a number has one digest for ever. What stands on the old line behind the fork
did happen, until the new line began: a moment before `started_at` is read on the old line, one from `started_at` on on the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit.chain import Head

FORMAT = 1
FIRST = 1


class BadTimeline(Exception):
    """A timeline's document of another format, or about another timeline; the message says what."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """Where a stream's new line leaves the old one: after `head`. The numbers behind it up to `highest` are the old line's alone."""

    head: Head
    highest: int


@dataclass(frozen=True, slots=True)
class Fork:
    """How timeline `timeline` began: its first segment, and where it leaves the older ones, by stream."""

    timeline: int
    started_at: datetime
    first_segment: int
    leavings: Mapping[str, Leaving] = field(default_factory=dict)


def name_of(timeline: int) -> str:
    """Where the document lies at every location."""
    return f"hot/timelines/{timeline}.json"


def of_document(document: Mapping[str, Any], timeline: int) -> Fork:
    """Of a verified document:
    `{"format":1,"kind":"timeline","timeline":n,"started_at":…,"first_segment":n,"forks":{stream:[number,digest,highest]}}`."""
    try:
        if (document["format"], document["kind"], document["timeline"]) != (FORMAT, "timeline", timeline):
            raise BadTimeline(f"it is a {document['kind']} {document['timeline']} of format {document['format']}")
        leavings = {stream: Leaving(Head(number, digest), highest) for stream, (number, digest, highest) in document["forks"].items()}
        return Fork(timeline, datetime.fromisoformat(document["started_at"]), document["first_segment"], leavings)
    except (KeyError, TypeError, ValueError, AttributeError) as problem:
        raise BadTimeline(f"it cannot be read: {problem}") from None


def in_force(forks: Sequence[Fork], at: datetime) -> int:
    """The timeline on which a moment is read."""
    return max((fork.timeline for fork in forks if fork.started_at <= at), default=FIRST)


def newest(forks: Sequence[Fork]) -> int:
    return max((fork.timeline for fork in forks), default=FIRST)


def of_segment(forks: Sequence[Fork], segment: int) -> int:
    """The timeline that a segment's number belongs to: numbers go on over all of them."""
    return max((fork.timeline for fork in forks if fork.first_segment <= segment), default=FIRST)


def last_shared(forks: Sequence[Fork], stream: str, one: int, other: int) -> Head | None:
    """The last change of the older of two timelines that stands on the newer one too; None when all of them do."""
    between = [fork for fork in forks if min(one, other) < fork.timeline <= max(one, other) and stream in fork.leavings]
    return min((fork.leavings[stream].head for fork in between), key=lambda head: head.number, default=None)


def counts(forks: Sequence[Fork], stream: str, *, of: int, number: int, on: int) -> bool:
    """Whether the change that got its number on timeline `of` stands on timeline `on`."""
    shared = last_shared(forks, stream, of, on)
    return of <= on and (shared is None or number <= shared.number)


def onward(forks: Sequence[Fork], stream: str, head: Head, *, on: int) -> Head:
    """What the next change on that timeline follows: `head`, or where the line leaves an older one with it, the same digest behind the
    numbers that the older line has used."""
    leavings = [fork.leavings[stream] for fork in forks if fork.timeline <= on and stream in fork.leavings]
    return next((Head(one.highest, head.digest) for one in reversed(leavings) if one.head == head), head)
