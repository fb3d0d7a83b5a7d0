"""Segments, and what was kept of them, are put right: under the lease of their removal, so that nothing comes back that was let go.

A segment that no location has whole is owed everywhere again: whoever ships makes it anew from history, under a name of its own epoch and
with the same digests (`hot/leading.py`). Until then the seconds that it told of are named.
"""

from __future__ import annotations

from collections.abc import Sequence

from backups import leases
from backups.hot import removal, timelines
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import Damage, KeptSegment, Segment, SegmentCopy, ServiceObject
from backups.placing import put_and_read_back
from backups.stores.contract import StoreError
from backups.vault import Vault
from backups.verification import damages, setting_aside
from backups.verification.mending import Mended
from backups.verification.reading import Expected, OutOfReach, Seen, judge
from backups.verification.stored import Standing

KINDS = {"segment": "segment", "service": str(ServiceObject.Kind.KEPT.label)}


def learn_kept(place: Place) -> None:
    """What was kept of segments has rows of its own at each location, as long as it is kept."""
    rows = [
        ServiceObject(location=place.location, kind=ServiceObject.Kind.KEPT, name=one.name, sha256=one.sha256, size=one.size)
        for one in KeptSegment.objects.exclude(sha256="")
    ]
    ServiceObject.objects.bulk_create(rows, ignore_conflicts=True)
    known = KeptSegment.objects.values("name")
    ServiceObject.objects.filter(location=place.location, kind=ServiceObject.Kind.KEPT).exclude(name__in=known).delete()


def mend(vault: Vault, places: Sequence[Place], suspects: Sequence[tuple[Place, Standing]], *, mending: bool) -> Mended:
    """Looks again at what was found wrong, and at what still is from earlier passes; with `mending` puts it right. Stands inside
    `audit.acting(...)`. Raises `Busy`, `LeaseLost`, and `Stopped` while a location knows more than the database."""
    timelines.refuse_stopped()
    done = Mended()
    with leases.holding(removal.LEASE, doing="mend", clock=vault.clock) as lease:
        for place, standing in suspects:
            lease.keep()
            _confirm(vault, place, standing)
        for damage in _open() if mending else ():
            lease.keep()
            _put_right(vault, places, damage, lease, done)
        with fenced(lease):
            damages.tell_of_segments(vault.clock())
    return done


def _open() -> list[Damage]:
    found = Damage.objects.open().filter(kind__in=KINDS.values())
    return list(found.select_related("location", "segment_copy__segment", "service_object").order_by("pk"))


def _confirm(vault: Vault, place: Place, standing: Standing) -> None:
    """Damage, unless it went by removal, or was made anew, since it was read."""
    if not _still_stands(standing):
        return
    try:
        seen = judge(place, standing.expected, vault.fingerprint)
    except OutOfReach:
        return
    if seen.what is not None:
        copy = SegmentCopy.objects.get(pk=standing.pk) if standing.table == "segment" else None
        service = ServiceObject.objects.get(pk=standing.pk) if standing.table == "service" else None
        name, kind = standing.expected.name, KINDS[standing.table]
        damages.found(place.location, name, kind, seen.what, vault.clock(), segment_copy=copy, service_object=service)


def _still_stands(standing: Standing) -> bool:
    if standing.table == "segment":
        return SegmentCopy.objects.filter(pk=standing.pk, durable_at__isnull=False, segment__name=standing.expected.name).exists()
    return KeptSegment.objects.filter(name=standing.expected.name).exists()


def _put_right(vault: Vault, places: Sequence[Place], damage: Damage, lease: Held, done: Mended) -> None:
    expected = _expected(damage)
    if expected is None:
        _end(vault, damage)
        return
    seen, out_of_reach = _looked_at(vault, places, expected)
    sources = [place for place in places if place.name in seen and seen[place.name].right]
    here = next((place for place in places if place.location.pk == damage.location_id), None)
    if not sources:
        _note_lost(vault, damage, out_of_reach, done)
    elif here is not None and here.name in seen:
        _put_back(vault, here, seen[here.name], sources[0], seen[sources[0].name], damage, expected, lease, done)


def _expected(damage: Damage) -> Expected | None:
    """None where nothing of that name should stand there any more."""
    if damage.segment_copy is not None:
        segment = damage.segment_copy.segment
        return Expected(segment.name, segment.sha256, segment.size) if segment.name == damage.name else None
    kept = KeptSegment.objects.filter(name=damage.name).first()
    return Expected(kept.name, kept.sha256, kept.size) if kept is not None else None


def _end(vault: Vault, damage: Damage) -> None:
    """It was removed, or made again under another name; what is left of it then goes as what is set aside does."""
    copy = damage.segment_copy
    if copy is None:
        damages.over([damage], vault.clock())
    elif copy.durable_at is not None:
        damage.aside, damage.aside_until = damage.name, vault.clock() + setting_aside.KEPT
        damage.save(update_fields=["aside", "aside_until"])
        damages.mended(damage, damages.MADE_AGAIN, vault.clock())


def _looked_at(vault: Vault, places: Sequence[Place], expected: Expected) -> tuple[dict[str, Seen], list[str]]:
    seen, out_of_reach = {}, []
    for place in places:
        try:
            seen[place.name] = judge(place, expected, vault.fingerprint)
        except OutOfReach as problem:
            out_of_reach.append(str(problem))
    return seen, out_of_reach


def _note_lost(vault: Vault, damage: Damage, out_of_reach: list[str], done: Mended) -> None:
    missing = {place.name for place in vault.places} - {one.partition(":")[0] for one in out_of_reach}
    if out_of_reach or not missing:
        done.waits.append(f"{damage.name} is damaged; a location that may have it whole is out of reach: {', '.join(out_of_reach)}")
        return
    done.beyond += 1
    damages.beyond(damage, vault.clock())
    if damage.segment_copy is not None:
        segment: Segment = damage.segment_copy.segment
        SegmentCopy.objects.filter(segment=segment).update(durable_at=None, checked_at=None)


def _put_back(
    vault: Vault, here: Place, there: Seen, source: Place, right: Seen, damage: Damage, expected: Expected, lease: Held, done: Mended
) -> None:
    try:
        if not there.right:
            assert right.data is not None
            if there.data:
                setting_aside.keep_hot(here, damage, there.data, vault.clock())
            put_and_read_back(here.store, expected.name, right.data, expected.sha256)
    except StoreError as problem:
        done.waits.append(f"{expected.name} could not be put back at {here.name}: {problem}")
        return
    now = vault.clock()
    with fenced(lease):
        if damage.segment_copy is not None:
            SegmentCopy.objects.filter(pk=damage.segment_copy.pk, durable_at__isnull=False).update(checked_at=now)
        elif damage.service_object is not None:
            ServiceObject.objects.filter(pk=damage.service_object.pk).update(checked_at=now)
        damages.mended(damage, source.name if source is not here else damages.BY_ITSELF, now)
    done.objects += 1
