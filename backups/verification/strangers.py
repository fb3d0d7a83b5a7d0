"""All that a location lists is held against all that should be there, every night: what vanished shows within a day, not within the
period; and what no row knows is told, and never removed.

The list comes before the rows: whatever is stored has its row first, and whatever is removed keeps it until it is gone.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from audit import findings
from audit.findings import Kind
from audit.registry import SYSTEM_STREAM
from audit.signing import BadSignature, verify
from backups.hot import removed
from backups.hot.removed import BadRecord, record_name, recorded_number
from backups.hot.segments import FOLDER, number_and_epoch
from backups.locations import FORMAT_FILE, README_FILE, Place
from backups.models import Blob, Damage, HotState, KeptSegment, Location, Segment, Timeline, UnknownObject
from backups.stores.contract import Entry, Missing
from backups.verification.documents import ended_name
from backups.verification.reading import Expected
from backups.verification.stored import Standing, copies, segment_copies
from subscriptions.ending import standing

SHOWN = 5
_OF_STREAM = re.compile(r"(customers|keys)/([0-9a-f-]{36})/.*")
_COLUMNS = ("checked_at", "pk", "blob__name", "blob__sha256", "blob__size", "blob__stream", "blob")


@dataclass(frozen=True, slots=True)
class Shelf:
    """One stream's objects, or its keys, which lie apart."""

    stream: uuid.UUID
    keys: bool


@dataclass(slots=True)
class Listing:
    """`suspects` should be there, whole, by their rows, and are not; `unknown` are listed and have no row, with their sizes."""

    suspects: list[Standing] = field(default_factory=list)
    unknown: dict[str, int] = field(default_factory=dict)
    objects: int = 0


def compare(place: Place, trusted: str, keep: Callable[[], None] = lambda: None) -> Listing:
    """One shelf after the other, so that no more is held than one customer has. `trusted` is the signing key's fingerprint. Raises what
    the store raises."""
    found, met, of_nobody = Listing(), set[Shelf](), dict[str, int]()
    ended = standing.ended()  # whose destruction looks for them itself, and opens the case again when it finds any
    for shelf, entries in groupby(place.store.list(""), key=_shelf_of):
        keep()
        listed = {entry.name: entry.size for entry in entries}
        found.objects += len(listed)
        if shelf is None:
            of_nobody |= listed
        elif shelf.stream in ended:
            continue
        else:
            met.add(shelf)
            _compare_shelf(place, shelf, listed, found)
    _compare_rest(place, of_nobody, found, trusted)
    streams = copies(place.location).order_by().values_list("blob__stream", flat=True).distinct()
    for shelf in {Shelf(stream, keys) for stream in streams for keys in (False, True)} - met:
        keep()
        _compare_shelf(place, shelf, {}, found)
    return found


def _shelf_of(entry: Entry) -> Shelf | None:
    """By an object's name; None for what belongs to nobody alone."""
    if entry.name.startswith("system/"):
        return Shelf(SYSTEM_STREAM, keys=False)
    named = _OF_STREAM.fullmatch(entry.name)
    try:
        return Shelf(uuid.UUID(named[2]), keys=named[1] == "keys") if named else None
    except ValueError:
        return None


def _compare_shelf(place: Place, shelf: Shelf, listed: dict[str, int], found: Listing) -> None:
    if listed:
        known = set(Blob.objects.filter(stream=shelf.stream).values_list("name", flat=True))
        found.unknown |= {name: size for name, size in listed.items() if name not in known}
    here = copies(place.location, [shelf.stream])
    here = here.filter(blob__kind=Blob.Kind.KEY) if shelf.keys else here.exclude(blob__kind=Blob.Kind.KEY)
    for at, pk, name, sha256, size, owner, blob in here.values_list(*_COLUMNS):
        if listed.get(name) != size:
            found.suspects.append(Standing(at, "copy", pk, Expected(name, sha256, size), owner, blob))


def _compare_rest(place: Place, listed: dict[str, int], found: Listing, trusted: str) -> None:
    """Segments and their company, and the location's own files. (A segment's other names are those of earlier leaders.)"""
    known = _known_names(place.location)
    numbers = set(Segment.objects.values_list("number", flat=True))
    state = HotState.objects.filter(pk=1).first()
    newest = record_name(state.removed_to) if state else ""
    for name, size in listed.items():
        named = number_and_epoch(name)
        ours = name in known or ended_name(name) or (named is not None and named[0] in numbers)
        if not ours and not (recorded_number(name) is not None and (name <= newest or _is_record(place, name, trusted))):
            found.unknown[name] = size
    for copy in segment_copies(place.location).select_related("segment"):
        one = copy.segment
        if listed.get(one.name) != one.size:
            found.suspects.append(Standing(copy.last, "segment", copy.pk, Expected(one.name, one.sha256, one.size)))


def _is_record(place: Place, name: str, trusted: str) -> bool:
    """Whether we signed it: a removal that was killed has written its record, and not yet that it is done with it."""
    try:
        removed.of_document(verify(json.loads(place.store.get(name)), trusted))
    except (BadSignature, BadRecord, ValueError, Missing):
        return False
    return True


def _known_names(location: Location) -> set[str]:
    aside = Damage.objects.filter(location=location).exclude(aside="").values_list("aside", flat=True)
    timelines = (f"{FOLDER}timelines/{number}.json" for number in Timeline.objects.values_list("number", flat=True))
    return {FORMAT_FILE, README_FILE, *KeptSegment.objects.values_list("name", flat=True), *aside, *timelines}


def note(place: Place, listing: Listing, now: datetime) -> int:
    """Keeps the table of unknown objects true, and one finding for the location; how many there are. Stands inside `audit.acting(...)`.

    What was listed a moment ago may have been removed since, row and all: so each is looked for once more."""
    strange = {name: size for name, size in listing.unknown.items() if not _known_now(name) and place.store.exists(name)}
    rows = [UnknownObject(location=place.location, name=name, size=size, found_at=now, seen_at=now) for name, size in strange.items()]
    UnknownObject.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["location", "name"], update_fields=["size", "seen_at"], batch_size=500
    )
    UnknownObject.objects.filter(location=place.location, seen_at__lt=now).delete()
    _tell(place.location, sorted(strange), now)
    return len(strange)


def _known_now(name: str) -> bool:
    return Blob.objects.filter(name=name).exists() or KeptSegment.objects.filter(name=name).exists()


def _tell(location: Location, names: list[str], now: datetime) -> None:
    if not names:
        findings.close_as_mended(Kind.OBJECTS_UNKNOWN, subject=location, resolution="Nothing unknown is listed any more.", now=now)
        return
    shown = ", ".join(name for name in names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    text = (
        f"At {location.name}, unknown to this installation: {shown}. Nothing of it is touched. Find out who put it there (another "
        "installation, a person, a database that went back in time); remove it by hand only when that is known."
    )
    findings.open_finding(Kind.OBJECTS_UNKNOWN, subject=location, customer=None, text=text, now=now)
