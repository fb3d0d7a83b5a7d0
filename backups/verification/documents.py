"""The small documents of a location are read every night: its format file and README, timelines, the record of removed segments, and who
was destroyed (docs/format.md).

No row says what they are, so the first whole one is learned: a signature of ours makes it whole (the README has none; it counts as it was
found first). Their text is kept, for it holds ids and numbers alone, so that one damaged at every location can be put back from here.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from functools import partial

from audit.signing import BadSignature, verify
from backups import leases
from backups.hot import forks, removal
from backups.hot.removed import record_name
from backups.leases import fenced
from backups.locations import FORMAT_FILE, README_FILE, Place
from backups.models import Copy, Damage, HotState, ServiceObject, Timeline
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import Missing, StoreError
from backups.vault import Vault
from backups.verification import damages, setting_aside
from backups.verification.mending import Mended
from backups.verification.reading import What

Kind = ServiceObject.Kind
ENDED = "ended/"
FROM_HERE = "this database"
# One of so many of its objects a location must give back rightly before its lost format file is put back: it may be another disk.
WITNESSES = 20


def ended_name(name: str) -> bool:
    found = re.fullmatch(r"ended/([0-9a-f-]{36})\.json", name)
    return found is not None and _is_uuid(found[1])


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def examine(vault: Vault, places: Sequence[Place], *, mending: bool) -> Mended:
    """All documents at these places; with `mending` those that are wrong are put right. Inside `audit.acting(...)`; raises `Busy`."""
    done = Mended()
    with leases.holding(removal.LEASE, doing="mend", clock=vault.clock) as lease:
        wanted = list(_wanted(vault, places))
        for kind, name in wanted:
            lease.keep()
            _examine_one(vault, places, kind, name, mending, done)
        with fenced(lease):
            _forget(places, {name for _, name in wanted}, vault)
            damages.tell_of_segments(vault.clock())
    return done


def _wanted(vault: Vault, places: Sequence[Place]) -> Iterator[tuple[Kind, str]]:
    yield from ((Kind.FORMAT, FORMAT_FILE), (Kind.README, README_FILE))
    yield from ((Kind.TIMELINE, forks.name_of(number)) for number in Timeline.objects.values_list("number", flat=True))
    removed_to = HotState.objects.filter(pk=1).values_list("removed_to", flat=True).first() or 0
    if removed_to:
        yield Kind.REMOVED, record_name(removed_to)
    ended = set(ServiceObject.objects.filter(kind=Kind.ENDED).values_list("name", flat=True))
    for place in places:
        try:
            ended |= {entry.name for entry in place.store.list(ENDED) if ended_name(entry.name)}
        except StoreError:
            continue  # the pass over that place says so
    yield from ((Kind.ENDED, name) for name in sorted(ended))


def _forget(places: Sequence[Place], wanted: set[str], vault: Vault) -> None:
    """Records that a later one has replaced, timelines of another database."""
    known = ServiceObject.objects.filter(location__in=[place.location for place in places]).exclude(kind=Kind.KEPT)
    for old in known.exclude(name__in=wanted):
        damages.over(Damage.objects.open().filter(service_object=old), vault.clock())
        old.delete()


def _examine_one(vault: Vault, places: Sequence[Place], kind: Kind, name: str, mending: bool, done: Mended) -> None:
    seen = {place.name: _read(place, name) for place in places}
    rows = {row.location_id: row for row in ServiceObject.objects.filter(name=name)}
    for place in places:
        data = seen[place.name]
        if isinstance(data, StoreError) and not isinstance(data, Missing):
            done.waits.append(f"{name} at {place.name}: {data}")
            continue
        row = rows.get(place.location.pk)
        if isinstance(data, bytes) and _is_right(vault, kind, data, row, rows):
            _note_right(vault, place, kind, name, data, row)
            rows[place.location.pk] = ServiceObject.objects.get(location=place.location, name=name)
            continue
        if kind is Kind.ENDED and not rows and not any(_counts(vault, kind, one) for one in seen.values()):
            continue  # nobody signed it: it is unknown, not damaged
        bad = data if isinstance(data, bytes) else b""
        what = What.MISSING if not isinstance(data, bytes) else What.CUT if row and len(bad) < row.size else What.ALTERED
        damage = damages.found(place.location, name, kind.label, what, vault.clock(), service_object=row)
        if mending:
            _put_right(vault, place, kind, name, damage, bad, _whole(vault, place, kind, row, rows, seen), done)


def _read(place: Place, name: str) -> bytes | StoreError:
    try:
        return place.store.get(name)
    except StoreError as problem:
        return problem


def _counts(vault: Vault, kind: Kind, data: bytes | StoreError) -> bool:
    """Whether such bytes are whole by themselves."""
    if not isinstance(data, bytes):
        return False
    try:
        if kind is Kind.README:
            return bool(data.decode())
        verify(json.loads(data), vault.fingerprint)
    except (BadSignature, ValueError, KeyError, TypeError):
        return False
    return True


def _is_right(vault: Vault, kind: Kind, data: bytes, row: ServiceObject | None, rows: dict[int, ServiceObject]) -> bool:
    """What was learned there; else, of what is the same everywhere, what was learned elsewhere; else what counts by itself."""
    if row is not None:
        return sha256_of(data) == row.sha256
    learned = {one.sha256 for one in rows.values()} if kind in (Kind.REMOVED, Kind.TIMELINE, Kind.ENDED) else set()
    return sha256_of(data) in learned if learned else _counts(vault, kind, data)


def _note_right(vault: Vault, place: Place, kind: Kind, name: str, data: bytes, row: ServiceObject | None) -> None:
    now = vault.clock()
    if row is None:
        about = {"kind": kind, "sha256": sha256_of(data), "size": len(data), "text": data.decode(errors="strict"), "checked_at": now}
        ServiceObject.objects.create(location=place.location, name=name, **about)
    else:
        ServiceObject.objects.filter(pk=row.pk).update(checked_at=now)
    for damage in Damage.objects.open().filter(location=place.location, name=name):
        damages.mended(damage, damages.BY_ITSELF, now)


def _whole(
    vault: Vault, place: Place, kind: Kind, row: ServiceObject | None, rows: dict[int, ServiceObject], seen: dict[str, bytes | StoreError]
) -> tuple[bytes, str] | None:
    """The bytes to put there, and whose they are: the identical ones of another location, else those that this database keeps, else
    another location's own that count there too."""
    wanted = {row.sha256} if row is not None else {one.sha256 for one in rows.values()}
    for other, data in seen.items():
        if (
            other != place.name
            and isinstance(data, bytes)
            and sha256_of(data) in wanted
            and (row is not None or _counts(vault, kind, data))
        ):
            return data, other
    if row is not None and row.text:
        return row.text.encode(), FROM_HERE
    for other, data in seen.items():
        if other != place.name and isinstance(data, bytes) and _counts(vault, kind, data):
            return data, other
    return next(((one.text.encode(), FROM_HERE) for one in rows.values() if one.text), None)


def _put_right(
    vault: Vault, place: Place, kind: Kind, name: str, damage: Damage, bad: bytes, found: tuple[bytes, str] | None, done: Mended
) -> None:
    if found is None:
        done.beyond += 1
        damages.beyond(damage, vault.clock())
        return
    data, source = found
    try:
        aside = partial(setting_aside.keep_hot, place, damage, now=vault.clock())
        put_and_read_back(place.store, name, data, sha256_of(data), aside=aside)
    except StoreError as problem:
        done.waits.append(f"{name} could not be put back at {place.name}: {problem}")
        return
    row = ServiceObject.objects.filter(location=place.location, name=name).first()
    if row is None:
        _note_right(vault, place, kind, name, data, None)
    ServiceObject.objects.filter(location=place.location, name=name).update(checked_at=vault.clock())
    damages.mended(damage, source, vault.clock())
    done.objects += 1


def without_format_file(vault: Vault) -> list[Place]:
    """Places that cannot be used for want of a right format file, and that are ours for certain: what they should hold, they give."""
    return [place for place in vault.places if _lacks_format(vault, place) and _is_ours(place)]


def _lacks_format(vault: Vault, place: Place) -> bool:
    data = _read(place, FORMAT_FILE)
    if isinstance(data, StoreError):
        return isinstance(data, Missing)
    return not _counts(vault, Kind.FORMAT, data) and not _is_anothers(data)


def _is_anothers(data: bytes) -> bool:
    """A whole format file that somebody else signed."""
    try:
        document = json.loads(data)
        verify(document, document["signed_by"]["fingerprint"])
    except (BadSignature, ValueError, KeyError, TypeError):
        return False
    return True


def _is_ours(place: Place) -> bool:
    newest = Copy.objects.filter(location=place.location, state=Copy.State.PRESENT).select_related("blob").order_by("-pk")[:WITNESSES]
    witnesses = [copy.blob for copy in newest]
    return any(_gives(place, blob.name, blob.sha256) for blob in witnesses)


def _gives(place: Place, name: str, sha256: str) -> bool:
    data = _read(place, name)
    return isinstance(data, bytes) and sha256_of(data) == sha256


def mend_format_file(vault: Vault, place: Place) -> bool:
    """The format file of a place that is ours alone: from what was learned there, else from another location. Whether it was put right."""
    done = Mended()
    with leases.holding(removal.LEASE, doing="mend", clock=vault.clock):
        others = [other for other in vault.places if other is not place]
        _examine_one(vault, [place, *others], Kind.FORMAT, FORMAT_FILE, True, done)
    return not _lacks_format(vault, place)
