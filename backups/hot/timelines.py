"""A database that went back in time: it knows less than a location holds, and would give numbers a second time (design section 4).

Then nothing is shipped, pruned or destroyed, and it is said why. A person starts the next timeline: its numbers go on behind the highest
that any location knows, and a signed object at every location says where it leaves the old one.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django.db import transaction

import audit
from audit import events
from audit.chain import Head
from audit.events import Event
from audit.models import ChainHead, Stream
from audit.registry import SYSTEM_STREAM
from backups import leases
from backups.errors import BackupError, NoLocation
from backups.hot.lanes import WentBack
from backups.hot.segments import FOLDER, BadSegment, number_and_epoch, read
from backups.leases import Held
from backups.locations import Place
from backups.models import HotState, Lease, Segment, Timeline
from backups.placing import put_and_read_back, sha256_of
from backups.vault import Vault

LEASE = "hot"
TIMELINES = f"{FOLDER}timelines/"
FORMAT = 1
DAY = timedelta(days=1)
# Why customers are frozen while it is so; the next timeline thaws them.
READ_ONLY = "read-only: a location knows of changes that this database does not, until a person starts the next timeline"


class Stopped(BackupError):
    """Nothing is shipped, pruned or destroyed until a person decides; the message says why and what to do."""


def refuse_stopped() -> None:
    """`Stopped` while the database is known to be behind a location: for whatever ships, prunes or destroys."""
    state = HotState.objects.filter(pk=1).exclude(stopped="").first()
    if state is not None:
        raise Stopped(
            f"{state.stopped}. Put the newest database back; or, if what it lacks is given up, start a new timeline: "
            "'manage.py hotbackup --new-timeline --as USER --password-file FILE --reason WHY'."
        )


def current() -> int:
    """The number of the timeline in force; 1 before anything was shipped."""
    return HotState.objects.filter(pk=1).values_list("timeline", flat=True).first() or 1


def check(place: Place, last: int, now: datetime) -> None:
    """`WentBack` when the place holds a segment behind number `last`, which this database would give anew; or, after a recovery from
    elsewhere, one of the lost machine that was not known there. Raises what listing raises."""
    found = list(_numbers_since(place, _newest_day(now), now))
    newest = max((number for number, _ in found), default=0)
    if newest > last:
        raise WentBack(f"{place.name} holds segment {newest}; this database knows of none after {last}: it went back in time")
    strays = _strays(found)
    if strays:
        raise WentBack(
            f"{place.name} holds segment {max(strays)} of the machine that was lost, which was not known where the service came back from"
        )


def _strays(found: Iterable[tuple[int, int]]) -> list[int]:
    """The numbers that leaders from before the recovery gave, behind what was recovered; none where nothing ever was."""
    behind, up_to = HotState.objects.filter(pk=1).values_list("recovered_segment", "recovered_epoch").first() or (None, None)
    if behind is None or up_to is None:
        return []
    return [number for number, epoch in found if number > behind and epoch <= up_to]


def _newest_day(now: datetime) -> date:
    newest = Segment.objects.order_by("-number").values_list("made_at", flat=True).first()
    return (newest or now - 400 * DAY).astimezone(UTC).date() - DAY


def _numbers_since(place: Place, day: date, now: datetime) -> Iterator[tuple[int, int]]:
    """The numbers and epochs of the segments that lie there, by the names of the days. A long silence is listed as a whole."""
    today = now.astimezone(UTC).date() + DAY
    prefixes = [f"{FOLDER}{day + DAY * days:%Y-%m-%d}/" for days in range((today - day).days + 1)]
    for prefix in prefixes if len(prefixes) <= 40 else [FOLDER]:
        for entry in place.store.list(prefix):
            found = number_and_epoch(entry.name)
            if found is not None:
                yield found


def note_stopped(why: str, lease: Held) -> None:
    """From now on nothing is shipped, pruned or destroyed, and no content written."""
    with audit.acting("shipper", reason="a location knows more than the database", source="hotbackup"), leases.fenced(lease):
        state, _ = HotState.objects.get_or_create(pk=1)
        if not state.stopped:
            state.stopped, state.stopped_at = why[:1000], lease.clock()
            state.save(update_fields=["stopped", "stopped_at"])
            content = Stream.objects.exclude(pk=SYSTEM_STREAM).filter(frozen_at=None)
            content.update(frozen_at=lease.clock(), frozen_reason=READ_ONLY)
            events.record(Event.HOT_STOPPED, subject="hot:shipper", facts={"segment": state.last_segment})


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the locations know and the database does not: the highest segment and epoch, and each stream's highest number."""

    segment: int
    epoch: int
    numbers: dict[str, int]


def begin(vault: Vault, *, by: str, reason: str) -> Timeline:
    """The next timeline, by a person who gives up what the database lacks. Every location must answer, for its numbers must not be used
    again. Stands inside `audit.acting(...)`. Raises `Stopped` when nothing is wrong, `NoLocation`, `Busy` while a shipper leads."""
    if not HotState.objects.filter(pk=1).exclude(stopped="").exists():
        raise Stopped("Nothing is stopped: there is no need for a new timeline.")
    places, troubles = vault.usable()
    if troubles:
        raise NoLocation("Every location must answer: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    ahead = _ahead(places, vault.fingerprint)
    with leases.holding(LEASE, doing="new timeline", clock=vault.clock):
        timeline = _timeline(vault, ahead, by, reason, _highest_timeline(places) + 1)
        _write(vault, places, timeline)
        _record(timeline, ahead)
    return timeline


def _ahead(places: Sequence[Place], trusted: str) -> Ahead:
    last = HotState.objects.get(pk=1).last_segment
    numbers: dict[str, int] = {}
    segment, epoch = last, Lease.objects.filter(name=LEASE).values_list("epoch", flat=True).first() or 0
    for place in places:
        for entry in place.store.list(FOLDER):
            found = number_and_epoch(entry.name)
            if found is None:
                continue
            segment, epoch = max(segment, found[0]), max(epoch, found[1])
            if found[0] > last or _strays([found]):
                numbers |= {stream: max(number, numbers.get(stream, 0)) for stream, number in _highest(place, entry.name, trusted)}
    return Ahead(segment, epoch, numbers)


def _highest(place: Place, name: str, trusted: str) -> Iterator[tuple[str, int]]:
    try:
        index, _ = read(place.store.get(name), trusted)
    except BadSegment:
        return  # it counts for nothing, and its number is passed over
    for entry in index.sections:
        yield entry.stream, entry.last


def _highest_timeline(places: Sequence[Place]) -> int:
    """A database may go back to before an earlier new timeline, too."""
    named = [re.fullmatch(rf"{TIMELINES}(\d+)\.json", entry.name) for place in places for entry in place.store.list(TIMELINES)]
    return max([HotState.objects.get(pk=1).timeline, *(int(one[1]) for one in named if one)])


def _timeline(vault: Vault, ahead: Ahead, by: str, reason: str, number: int) -> Timeline:
    heads = {str(head.pk): head for head in ChainHead.objects.filter(pk__in=[uuid.UUID(stream) for stream in ahead.numbers])}
    forks = {}
    for stream, highest in ahead.numbers.items():
        head = heads.get(stream)
        newest, digest = (head.number, head.digest) if head else (0, "0" * 64)
        if highest > newest:
            forks[stream] = [newest, digest, highest]
    return Timeline(
        number=number, started_at=vault.clock(), started_by=by, reason=reason[:500], first_segment=ahead.segment + 1, forks=forks
    )


def forks() -> dict[uuid.UUID, dict[Head, Head]]:
    """By stream: where a timeline leaves an older one, and the head that its next change follows."""
    return forks_of(Timeline.objects.order_by("number").values_list("forks", flat=True))


def forks_of(found: Iterable[Mapping[str, Sequence[Any]]]) -> dict[uuid.UUID, dict[Head, Head]]:
    """The same, of timelines' members `forks`."""
    by_stream: dict[uuid.UUID, dict[Head, Head]] = {}
    for one in found:
        for stream, (number, digest, highest) in one.items():
            by_stream.setdefault(uuid.UUID(stream), {})[Head(number, digest)] = Head(highest, digest)
    return by_stream


def document(timeline: Timeline) -> dict[str, Any]:
    """What is signed and stored at every location (docs/format.md)."""
    return {
        "format": FORMAT,
        "kind": "timeline",
        "timeline": timeline.number,
        "started_at": timeline.started_at.astimezone(UTC).isoformat(),
        "first_segment": timeline.first_segment,
        "forks": timeline.forks,
    }


def _write(vault: Vault, places: Sequence[Place], timeline: Timeline) -> None:
    data = json.dumps(vault.signer.sign(document(timeline)), sort_keys=True).encode() + b"\n"
    for place in places:
        put_and_read_back(place.store, f"{TIMELINES}{timeline.number}.json", data, sha256_of(data))


def _record(timeline: Timeline, ahead: Ahead) -> None:
    with transaction.atomic():
        timeline.save(force_insert=True)
        for stream, (_, digest, highest) in timeline.forks.items():
            ChainHead.objects.update_or_create(stream_id=uuid.UUID(stream), defaults={"number": highest, "digest": digest})
        HotState.objects.filter(pk=1).update(
            timeline=timeline.number, last_segment=ahead.segment, stopped="", stopped_at=None, recovered_segment=None, recovered_epoch=None
        )
        Stream.objects.filter(frozen_reason=READ_ONLY).update(frozen_at=None, frozen_reason="")
        # No segment of the new line has a name of the old one; whoever waits may lead at once.
        Lease.objects.filter(name=LEASE).update(epoch=ahead.epoch + 1, expires_at=timeline.started_at)
        facts = {"timeline": timeline.number, "forks": len(timeline.forks)}
        events.record(Event.TIMELINE_BEGUN, subject=f"timeline:{timeline.number}", facts=facts)
