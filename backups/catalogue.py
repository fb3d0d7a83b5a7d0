"""What the catalogue knows of one stream's objects: intents, copies, chunks. Every write is fenced by the stream's lease."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from backups import idset
from backups.chunks import Pack
from backups.errors import BackupError
from backups.leases import Held, fenced
from backups.locations import Place
from backups.manifest import object_name
from backups.models import BackupSet, Blob, Chunk, Copy, Location
from backups.placing import sha256_of
from backups.sealing import Sealed, StreamKey
from backups.statements import ask, change, each, insert, save

BATCH = 500
T = TypeVar("T")

_BLOBS, _COPIES, _LOCATIONS, _SETS = (model._meta.db_table for model in (Blob, Copy, Location, BackupSet))
_IN_FORCE = f"SELECT id, name, required FROM {_LOCATIONS} WHERE in_force ORDER BY position, name"  # noqa: S608  (names from the models)
_KNOWN = (
    "SELECT b.id, b.kind, b.state, b.name, b.sha256, b.size, b.hot, s.state, c.location_id, c.state, c.checked_at < %s "  # noqa: S608
    f"FROM {_BLOBS} b LEFT JOIN {_COPIES} c ON c.blob_id = b.id LEFT JOIN {_SETS} s ON s.id = b.made_by_id "
    "WHERE b.stream_id = %s ORDER BY b.id DESC"
)
_OWE = (
    f"INSERT INTO {_COPIES} (blob_id, location_id, state) "  # noqa: S608
    f"SELECT b.id, l.id, %s FROM {_BLOBS} b, {_LOCATIONS} l WHERE b.id IN (%s) AND l.id IN (%s)"
)
_PRESENT = f"UPDATE {_COPIES} SET state = %s, checked_at = %s WHERE location_id IN (%s) AND blob_id IN (%s)"  # noqa: S608
_STORED = f"UPDATE {_BLOBS} SET state = %s WHERE state = %s AND id IN (%s)"  # noqa: S608
_ALIVE = f"SELECT sha256, size FROM {_BLOBS} WHERE id IN (%s) AND state <> %s"  # noqa: S608
_NEEDED_THERE = (
    f"SELECT c.location_id, b.id, b.kind FROM {_COPIES} c JOIN {_BLOBS} b ON b.id = c.blob_id "  # noqa: S608
    "WHERE b.stream_id = %s AND b.state <> %s AND c.location_id IN (%s) AND c.state = %s "
    "AND (b.kind = %s OR (b.kind = %s AND b.made_by_id = %s) OR b.name = %s OR (b.kind = %s AND b.name LIKE %s))"
)
_ENVELOPES = (
    f"SELECT l.name FROM {_COPIES} c JOIN {_BLOBS} b ON b.id = c.blob_id JOIN {_LOCATIONS} l ON l.id = c.location_id "  # noqa: S608
    "WHERE b.kind = %s AND b.made_by_id = %s AND c.state = %s ORDER BY l.position, l.name"
)
# Makers whose objects some set names, or retention has looked at.
NAMED = (BackupSet.State.MADE, BackupSet.State.LEAVING, BackupSet.State.REMOVED)
# Up to these a stream's chunks are looked up together, else one by one.
FEW_BLOBS, FEW_CHUNKS = 300, 2000


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk that is stored already."""

    chunk_id: int
    blob_id: int
    blob_sha256: str
    offset: int
    length: int


@dataclass(slots=True)
class Inventory:
    """What the catalogue knew of one stream's objects when nobody was at work on them, so that one look serves a whole run.

    `usable` blobs have a copy at one of the places asked for; `keys` are names and digests; `names` are all objects'.
    `stale`: some copy was checked so long ago that its check is due.
    """

    names: set[str] = field(default_factory=set)
    with_a_row: dict[int | None, set[int]] = field(default_factory=dict)
    claimed: dict[int, list[tuple[int, str, int]]] = field(default_factory=dict)
    usable: set[int] = field(default_factory=set)
    keys: list[tuple[str, str]] = field(default_factory=list)
    owed: bool = False
    condemned: bool = False
    doubtful: bool = False
    stale: bool = False

    @property
    def in_order(self) -> bool:
        """Nothing can be removed: every object is named by a set, or is a key."""
        return not (self.doubtful or self.condemned)

    @property
    def known(self) -> set[int]:
        return set().union(*self.with_a_row.values())

    def add(self, row: tuple[Any, ...], at: set[int]) -> None:
        """One object's row with one of its copies', as `_KNOWN` asks for them; `at` are the locations that can be reached."""
        ident, kind, state, name, sha256, size, hot, maker, location, copy, stale = row
        self.names.add(name)
        if state == Blob.State.CONDEMNED:
            self.condemned |= kind != "key"  # a former wrapping goes by itself (`backups/keys/former.py`)
            return
        if kind == Blob.Kind.ASIDE:
            return  # it lies at one location alone, and nothing is made of it
        self.with_a_row.setdefault(location, set()).add(ident)
        self.stale |= bool(stale)
        present_here = copy == Copy.State.PRESENT and location in at
        if present_here:
            self.claimed.setdefault(location, []).append((ident, name, size))
        if kind == "blob" and present_here:
            self.usable.add(ident)
        if state == Blob.State.STORED:
            self.owed |= copy == Copy.State.OWED and location in at
            # What a finished set made it names, until retention lets it go, which condemns what nobody names any more; what the hot
            # shipper stored is kept for its segments.
            self.doubtful |= kind != "key" and maker not in NAMED and not hot
            if kind == "key" and (name, sha256) not in self.keys:
                self.keys.append((name, sha256))


def inventory(stream: uuid.UUID, places: Iterable[Place], due_before: datetime) -> Inventory:
    """All that is known of the stream's objects and their copies, in one query; checks older than `due_before` are due again."""
    found, at = Inventory(), {place.location.pk for place in places}
    for row in each(_KNOWN, due_before, stream):
        found.add(row, at)
    return found


class InForce(NamedTuple):
    """A location that the environment names: every object is owed to it. A protected set is whole at each `required` one."""

    pk: int
    name: str
    required: bool


def locations_in_force() -> list[InForce]:
    return [InForce(pk, name, bool(required)) for pk, name, required in ask(_IN_FORCE)]


def unstored(stream: uuid.UUID, kind: str, ident: str, data: bytes, *, plain_size: int = 0, made_by: BackupSet | None = None) -> Blob:
    """The row, not written yet, for an object that is about to be stored."""
    name = object_name(str(stream), kind, ident)
    size, sha256 = len(data), sha256_of(data)
    return Blob(stream_id=stream, kind=kind, name=name, sha256=sha256, size=size, plain_size=plain_size, made_by=made_by)


def intend(lease: Held, blobs: Sequence[Blob], owed_to: Sequence[InForce]) -> None:
    """Writes the rows, which have their ids after it, and the copies that are owed."""
    with fenced(lease):
        for batch in batches(blobs):
            insert(batch)
            change(_OWE, Copy.State.OWED, [blob.pk for blob in batch], [location.pk for location in owed_to])


def intend_packs(
    lease: Held, backup_set: BackupSet, packs: Sequence[tuple[Sealed, Pack]], key: StreamKey, owed_to: Sequence[InForce]
) -> list[tuple[Blob, list[Chunk]]]:
    """As `intend`, for blobs of content, with the rows that say which chunk lies where in them."""
    stream = backup_set.stream_id
    blobs = [unstored(stream, "blob", sealed.sha256, sealed.data, plain_size=sealed.plain_size, made_by=backup_set) for sealed, _ in packs]
    with fenced(lease):
        intend(lease, blobs, owed_to)
        chunks = [chunks_in(blob, pack, key) for blob, (_, pack) in zip(blobs, packs, strict=True)]
        for batch in batches([chunk for of_one in chunks for chunk in of_one]):
            insert(batch)
    return list(zip(blobs, chunks, strict=True))


def chunks_in(blob: Blob, pack: Pack, key: StreamKey) -> list[Chunk]:
    """The rows, not written yet, that say which chunk lies where in the blob."""
    rows, offset = [], 0
    for chunk in pack.chunks:
        digest, length = key.digest(chunk.sha256), chunk.size
        rows.append(Chunk(stream_id=blob.stream_id, digest=digest, blob=blob, offset=offset, length=length))
        offset += length
    return rows


def mark_present(lease: Held, place: Place, blob_ids: Iterable[int], now: datetime) -> None:
    """These objects were read back whole at that place: their copies are present, and the objects stored."""
    ids = list(blob_ids)
    if ids:
        mark_placed(lease, [(place, ids)], now)


def mark_placed(lease: Held, placed: Iterable[tuple[Place, Sequence[int]]], now: datetime) -> None:
    """As `mark_present`, for what several places have, in one transaction."""
    at: dict[Location, list[int]] = {}
    for place, ids in placed:
        at.setdefault(place.location, []).extend(ids)
    by_ids: dict[tuple[int, ...], list[Location]] = {}
    for location, ids in at.items():
        by_ids.setdefault(tuple(ids), []).append(location)
    with fenced(lease):
        for ids, locations in by_ids.items():
            for batch in batches(ids):
                change(_PRESENT, Copy.State.PRESENT, now, [one.pk for one in locations], batch)
                change(_STORED, Blob.State.STORED, Blob.State.INTENDED, batch)


def mark_owed(lease: Held, place: Place, blob_ids: Iterable[int]) -> None:
    """These copies are not at that place as they should be: they are owed again."""
    with fenced(lease):
        for batch in batches(list(blob_ids)):
            Copy.objects.filter(location=place.location, blob_id__in=batch).update(state=Copy.State.OWED, checked_at=None)


def needed_there(backup_set: BackupSet, places: Iterable[Place]) -> dict[int, dict[int, str]]:
    """For each place's location what it has of the stream's content, of the set's body and of its key, however wrapped: the kind by the
    object's id."""
    found: dict[int, dict[int, str]] = {place.location.pk: {} for place in places}
    stream = backup_set.stream_id
    number = backup_set.key_number
    key, wrapped_anew = object_name(str(stream), "key", str(number)), object_name(str(stream), "key", f"{number}-%")
    wanted = (Blob.Kind.BLOB, Blob.Kind.BODY, backup_set.pk, key, Blob.Kind.KEY, wrapped_anew)
    for location, blob, kind in each(_NEEDED_THERE, stream, Blob.State.CONDEMNED, list(found), Copy.State.PRESENT, *wanted):
        found[location][blob] = kind
    return found


def places_with(backup_set: BackupSet) -> list[str]:
    """The names of the locations where the set is whole: those with its envelope."""
    return [name for (name,) in ask(_ENVELOPES, Blob.Kind.ENVELOPE, backup_set.pk, Copy.State.PRESENT)]


def stored_chunks(usable: set[int]) -> dict[bytes, Found] | None:
    """The chunks in the usable blobs by their keyed digests; None when they are too many to hold."""
    if len(usable) > FEW_BLOBS:
        return None
    columns = ("digest", "id", "blob_id", "blob__sha256", "offset", "length")
    rows = list(Chunk.objects.filter(blob__in=usable).order_by("-id").values_list(*columns)[: FEW_CHUNKS + 1]) if usable else []
    return {bytes(digest): Found(*found) for digest, *found in rows} if len(rows) <= FEW_CHUNKS else None


def find_chunk(stream: uuid.UUID, digest: bytes, usable: set[int]) -> Found | None:
    """The chunk of that keyed digest in one of the usable blobs."""
    if not usable:
        return None
    candidates = Chunk.objects.filter(stream=stream, digest=digest).values_list("id", "blob_id", "blob__sha256", "offset", "length")
    return next((Found(*row) for row in candidates if row[1] in usable), None)


def chunks_by_id(ids: Sequence[int], usable: set[int]) -> list[Found] | None:
    """The chunks in the order of their ids; None when one of them is not in a usable blob."""
    rows = Chunk.objects.filter(id__in=ids).values_list("id", "blob_id", "blob__sha256", "offset", "length")
    found = {row[0]: Found(*row) for row in rows if row[1] in usable}
    return [found[ident] for ident in ids] if all(ident in found for ident in ids) else None


def register_blobs(lease: Held, backup_set: BackupSet, blob_ids: set[int]) -> list[tuple[str, int]]:
    """Names the set's blobs, and saves the set, in one transaction: from now on nothing may remove them. Returns their digests and sizes.

    Raises `BackupError` when one was condemned.
    """
    with fenced(lease):
        alive: list[tuple[Any, ...]] = []
        for batch in batches(sorted(blob_ids)):
            alive += ask(_ALIVE, batch, Blob.State.CONDEMNED)
        if len(alive) != len(blob_ids):
            raise BackupError("Blobs that this set reuses were removed while it was made. Run the backup again.")
        backup_set.blob_ids = idset.packed(blob_ids)
        save(backup_set, *(field.name for field in BackupSet._meta.concrete_fields if not field.primary_key))
    return [(sha256, size) for sha256, size in alive]


def batches(items: Sequence[T]) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
