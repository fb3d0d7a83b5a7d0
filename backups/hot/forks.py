"""Which changes count on which timeline (pure; design section 4, docs/format.md).

A database that went back in time knows less than the locations. A person begins the next timeline: its document says of each stream that
had gone further with which change (number and digest) the new line leaves the old one. What stands on the old line behind it did happen,
until the new line began: a moment before `started_at` is read on the old line, one from `started_at` on is read on the new one.
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
class Fork:
    """How timeline `timeline` began: its first segment, and by stream the last change that it shares with the older ones."""

    timeline: int
    started_at: datetime
    first_segment: int
    heads: Mapping[str, Head] = field(default_factory=dict)


def name_of(timeline: int) -> str:
    """Where the document lies at every location."""
    return f"hot/timelines/{timeline}.json"


def of_document(document: Mapping[str, Any], timeline: int) -> Fork:
    """Of a verified document:
    `{"format":1,"kind":"timeline","timeline":n,"started_at":…,"first_segment":n,"forks":{stream:[number,digest]}}`."""
    try:
        if (document["format"], document["kind"], document["timeline"]) != (FORMAT, "timeline", timeline):
            raise BadTimeline(f"it is a {document['kind']} {document['timeline']} of format {document['format']}")
        heads = {stream: Head(number, digest) for stream, (number, digest) in document["forks"].items()}
        return Fork(timeline, datetime.fromisoformat(document["started_at"]), document["first_segment"], heads)
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
    between = [fork.heads[stream] for fork in forks if min(one, other) < fork.timeline <= max(one, other) and stream in fork.heads]
    return min(between, key=lambda head: head.number, default=None)


def counts(forks: Sequence[Fork], stream: str, *, of: int, number: int, on: int) -> bool:
    """Whether the change that got its number on timeline `of` stands on timeline `on`."""
    shared = last_shared(forks, stream, of, on)
    return of <= on and (shared is None or number <= shared.number)
