"""What was found wrong, and what became of it; what no location has whole is told with every restore point that it hits (P4).

Stands inside `audit.acting(...)`. Damage that is mended is a row; damage beyond mending is an event, a finding of its stream, and a note at
every set that needs the object. All of it is undone, with an event, when a location with the right bytes comes back.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from datetime import datetime

from audit import findings
from audit.events import Event, record
from audit.findings import Kind
from audit.registry import SYSTEM_STREAM
from backups import damage as damaged_sets
from backups import idset
from backups.keynames import key_name
from backups.models import BackupSet, Blob, Damage, HotFile, Location, SegmentCopy, ServiceObject

SHOWN = 5
HOT = "hot:segments"
WHOLE_AGAIN = "Every object is whole again, or no longer kept."
MADE_AGAIN, BY_ITSELF = "made again", "found right again"


def found(
    location: Location,
    name: str,
    kind: str,
    what: Damage.What,
    now: datetime,
    *,
    stream: uuid.UUID = SYSTEM_STREAM,
    blob: int | None = None,
    segment_copy: SegmentCopy | None = None,
    service_object: ServiceObject | None = None,
) -> Damage:
    """The open damage of that object there: a new one, or the one that is open."""
    about = {"stream_id": stream, "kind": kind, "what": what, "found_at": now, "blob_id": blob}
    hot = {"segment_copy": segment_copy, "service_object": service_object}
    damage, _ = Damage.objects.open().get_or_create(location=location, name=name, defaults={**about, **hot})
    return damage


def found_together(location: Location, stream: uuid.UUID, wrong: Iterable[tuple[Blob, Damage.What]], now: datetime) -> None:
    """As `found`, for what a listing shows: it may be as many as the location held."""
    rows = [
        Damage(location=location, stream_id=stream, name=blob.name, kind=blob.get_kind_display(), what=what, found_at=now, blob=blob)
        for blob, what in wrong
    ]
    Damage.objects.bulk_create(rows, ignore_conflicts=True)


def mended(damage: Damage, source: str, now: datetime) -> None:
    """The object is right again; `source` is the location whose bytes were put back."""
    damage.mended_at, damage.mended_from = now, source
    damage.save(update_fields=["mended_at", "mended_from"])


def over(open_ones: Iterable[Damage], now: datetime) -> None:
    """There is nothing to mend any more: retention took the object, or it is no longer what should be there."""
    Damage.objects.filter(pk__in=[one.pk for one in open_ones]).update(over_at=now)


def beyond(damage: Damage, now: datetime) -> None:
    """No location has it whole: an event, once."""
    if damage.beyond_at is None:
        damage.beyond_at = now
        damage.save(update_fields=["beyond_at"])
        facts = {"location": damage.location.name, "object": damage.name}
        record(Event.OBJECT_LOST, subject=damage, customer=_customer(damage.stream_id), facts=facts)


def sets_that_need(stream: uuid.UUID, blobs: Collection[Blob]) -> list[BackupSet]:
    """The stream's sets that do not restore without one of these objects, the newest first."""
    contents = {blob.pk for blob in blobs if blob.kind == Blob.Kind.BLOB}
    own = {blob.made_by_id for blob in blobs if blob.kind in (Blob.Kind.BODY, Blob.Kind.ENVELOPE)}
    keys = _lost_keys(stream, blobs)
    made = BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE).order_by("-started_at")
    return [one for one in made if one.pk in own or one.key_number in keys or (contents and contents & idset.unpacked(bytes(one.blob_ids)))]


def _lost_keys(stream: uuid.UUID, blobs: Collection[Blob]) -> set[int]:
    """The numbers of the keys that none but these objects hold: one that is wrapped anew opens by its other wrapping."""
    numbers, lost = {key_name(blob.name).number for blob in blobs if blob.kind == Blob.Kind.KEY}, {blob.pk for blob in blobs}
    if not numbers:
        return set()
    stored = Blob.objects.filter(stream=stream, kind=Blob.Kind.KEY, state=Blob.State.STORED).exclude(pk__in=lost)
    return numbers - {key_name(name).number for name in stored.values_list("name", flat=True)}


def tell_of_stream(stream: uuid.UUID, now: datetime) -> None:
    """Says of each set of the stream whether something that it needs is beyond mending, and keeps the stream's finding true."""
    lost = list(Damage.objects.open().filter(stream=stream, beyond_at__isnull=False, blob__isnull=False).select_related("blob"))
    blobs = {one.blob_id: one.blob for one in lost if one.blob is not None}
    noted = list(BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE, damaged_at__isnull=False)) if not lost else None
    if not lost and not noted and not _has_finding(f"stream:{stream}"):
        return
    hit = sets_that_need(stream, list(blobs.values()))
    for one in hit:
        damaged_sets.note(one, "Objects that it needs are damaged at every location.", now)
    for one in BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE, damaged_at__isnull=False):
        if one.pk not in {each.pk for each in hit}:
            damaged_sets.undo(one, now)
    subject = f"stream:{stream}"
    if lost:
        text = _text(sorted({one.name for one in lost}), hit, _files_waiting(stream, blobs))
        findings.open_finding(Kind.OBJECT_DAMAGED, subject=subject, customer=_customer(stream), text=text, now=now)
    else:
        findings.close_as_mended(Kind.OBJECT_DAMAGED, subject=subject, resolution=WHOLE_AGAIN, now=now)


def _text(names: list[str], hit: list[BackupSet], files: datetime | None) -> str:
    which = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    lines = [f"Damaged at every location: {which}."]
    if hit:
        points = ", ".join(f"the set {str(one.pk)[:8]} of the night of {one.night}" for one in hit)
        lines.append(f"Restore points that need them and do not restore whole: {points}. All others restore.")
    else:
        lines.append("No set needs them: every set restores.")
    if files:
        lines.append(f"Files uploaded since {files:%Y-%m-%d %H:%M:%S} UTC need them at any second up to the next set.")
    lines.append(
        "The next set stores anew what still lives. Give back a location that has the right bytes (an old disk, a version in the bucket): "
        "the next verification takes them from there."
    )
    return " ".join(lines)


def _files_waiting(stream: uuid.UUID, blobs: Collection[int]) -> datetime | None:
    """Since when files that only segments name are hit."""
    files = HotFile.objects.filter(stream=stream).exclude(parts=[]).order_by("written_at")
    return next((one.written_at for one in files if any(part[3] in blobs for part in one.parts)), None)


def tell_of_segments(now: datetime) -> None:
    """The same of segments and of what belongs to nobody alone: the seconds that are lost until they are made again from history."""
    lost = list(Damage.objects.open().filter(beyond_at__isnull=False, blob=None).select_related("segment_copy__segment").order_by("name"))
    if lost:
        told = sorted({_seconds(one) for one in lost})
        text = f"Damaged at every location: {'; '.join(told)}. Segments are made again from history by the shipper; sets are not touched."
        findings.open_finding(Kind.OBJECT_DAMAGED, subject=HOT, customer=None, text=text, now=now)
    elif _has_finding(HOT):
        findings.close_as_mended(Kind.OBJECT_DAMAGED, subject=HOT, resolution=WHOLE_AGAIN, now=now)


def _seconds(damage: Damage) -> str:
    if damage.segment_copy is None:
        return damage.name
    segment = damage.segment_copy.segment
    return f"{damage.name} (segment {segment.number}, with the changes up to {segment.until:%Y-%m-%d %H:%M:%S} UTC)"


def late_text(location: Location) -> str:
    """What the open finding says, when the location's limit is too low or its checks are late; empty else."""
    found = findings.open_findings().filter(kind=Kind.VERIFICATION_LATE, subject=findings.name_of(location)).first()
    return found.text if found else ""


def _has_finding(subject: str) -> bool:
    return findings.open_findings().filter(kind=Kind.OBJECT_DAMAGED, subject=subject).exists()


def _customer(stream: uuid.UUID) -> uuid.UUID | None:
    return stream if stream != SYSTEM_STREAM else None
