"""The catalogue of one stream, from what lies at the locations: sets by their signed envelopes, blobs by their lists, copies by listing.

What no envelope and no file of the newest second names gets no row: it is unknown, reported by the next backup, and never removed.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from audit.events import Event
from audit.models import Event as Recorded
from audit.registry import SYSTEM_STREAM
from audit.signing import BadSignature, verify
from backups import catching_up, idset, nights, policies
from backups.catalogue import InForce
from backups.catching_up import Shelves
from backups.customerkeys import key_at
from backups.keynames import KeyName, key_name
from backups.manifest import BadManifest, check_envelope, object_name, stream_folder
from backups.models import BackupSet, Blob, Chunk, Copy, Run, StoredFile
from backups.nightly import note_age
from backups.placing import sha256_of
from backups.recovery.sources import Newest
from backups.recovery.uploads import PlacedFile
from backups.sealing import StreamKey
from backups.slots import month_of, week_of
from backups.statements import insert, save
from backups.stores.contract import StoreError
from backups.vault import Vault

BATCH = 500


@dataclass(slots=True)
class Catalogue:
    """What is known of one stream's objects while its rows are made. `blobs` by their SHA-256; `keys` by number and wrapping."""

    sets: list[BackupSet] = field(default_factory=list)
    blobs: dict[str, Blob] = field(default_factory=dict)
    named: dict[str, Blob] = field(default_factory=dict)
    keys: dict[KeyName, Blob] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Envelope:
    ident: str
    data: bytes
    document: dict[str, Any]


def rebuild(vault: Vault, stream: uuid.UUID, newest: Newest | None, files: Sequence[PlacedFile]) -> Catalogue:
    """Writes the rows of sets, blobs, copies, chunks and filled nights. In the caller's transaction; nothing of the stream is there yet.
    Of a stream that is not back there is no `newest`: then its chunks are not known, and nothing of it is reused."""
    shelves = catching_up.look(vault.places, stream)
    envelopes = sorted(_envelopes(vault, shelves, stream), key=lambda one: str(one.document["snapshot_at"]))
    made = Catalogue(notes=shelves.notes)
    for one in envelopes:
        _add_set(vault, stream, one, made)
    _add_keys(vault, shelves, stream, made)
    _add_file_blobs(shelves, stream, files, made)
    _note_plain_sizes(newest, files, made)
    oldest = {one.ident: datetime.fromisoformat(one.document["made_at"]) for one in envelopes}
    _write(vault, shelves, stream, envelopes, made, oldest)
    _write_runs(stream, envelopes, made)
    if newest is not None:
        _write_chunks(vault, stream, newest, files, made)
    return made


def forget(stream: uuid.UUID) -> None:
    """Removes all of it again, of a stream that could not be brought back and is tried anew."""
    for model in (StoredFile, Chunk, Run):
        model.objects.filter(stream=stream).delete()
    Copy.objects.filter(blob__stream=stream).delete()
    Blob.objects.filter(stream=stream).delete()
    BackupSet.objects.filter(stream=stream).delete()


def _envelopes(vault: Vault, shelves: Shelves, stream: uuid.UUID) -> Iterator[_Envelope]:
    """Each set whose envelope verifies at some place, signed by the kit's signer."""
    folder = f"{stream_folder(str(stream))}sets/"
    names = {name for listed in shelves.listed.values() for name in listed if name.startswith(folder) and name.endswith(".json")}
    for name in sorted(names):
        ident = name.removeprefix(folder).removesuffix(".json")
        for place in shelves.places:
            if name not in shelves.listed[place.name]:
                continue
            try:
                data = place.store.get(name)
                document = check_envelope(verify(json.loads(data), vault.fingerprint), stream=str(stream), ident=ident)
            except (StoreError, BadSignature, BadManifest, ValueError) as problem:
                shelves.notes.append(f"{name} at {place.name} does not count as a set: {problem}")
                continue
            yield _Envelope(ident, data, document)
            break


# Rows, not written yet


def _add_set(vault: Vault, stream: uuid.UUID, one: _Envelope, made: Catalogue) -> None:
    about, night = one.document, date.fromisoformat(one.document["night"])
    journal, counts, body = about.get("journal") or {}, about["counts"], about["body"]
    made_at = datetime.fromisoformat(about["made_at"])
    row = BackupSet(
        pk=uuid.UUID(one.ident),
        stream_id=stream,
        state=BackupSet.State.MADE,
        night=night,
        policy=about["policy"],
        started_at=datetime.fromisoformat(about["snapshot_at"]),
        snapshot_at=datetime.fromisoformat(about["snapshot_at"]),
        ended_at=made_at,
        key_number=about["key"],
        software_version=about["software"],
        rows=counts["rows"],
        history_rows=counts["history"],
        files=counts["files"],
        absent_files=counts["absent_files"],
        journal_number=journal.get("number"),
        journal_digest=journal.get("digest", ""),
        journal_at=datetime.fromisoformat(journal["at"]) if journal.get("at") else None,
        segment=journal.get("segment"),
        timeline=journal.get("timeline", 1),
        proof=about.get("proof", {}).get("result", ""),
        proved_at=made_at if "proof" in about else None,
        week=week_of(night).key,
        month=month_of(night).key,
    )
    new = [(sha256, size) for sha256, size in about["blobs"] if sha256 not in made.blobs]
    row.new_blobs, row.new_bytes, row.reused_blobs = len(new), sum(size for _, size in new), len(about["blobs"]) - len(new)
    for sha256, size in new:
        made.blobs[sha256] = _blob(stream, "blob", sha256, sha256, size, row)
    for kind, sha256, size, plain in (
        ("body", body["sha256"], body["size"], body["plain_size"]),
        ("envelope", sha256_of(one.data), len(one.data), 0),
    ):
        made.named[f"{kind}:{one.ident}"] = _blob(stream, kind, one.ident, sha256, size, row, plain)
    note_age(vault, row)
    made.sets.append(row)


def _blob(stream: uuid.UUID, kind: str, ident: str, sha256: str, size: int, maker: BackupSet | None, plain: int = 0) -> Blob:
    name = object_name(str(stream), kind, ident)
    return Blob(stream_id=stream, kind=kind, state=Blob.State.STORED, name=name, sha256=sha256, size=size, plain_size=plain, made_by=maker)


def _add_keys(vault: Vault, shelves: Shelves, stream: uuid.UUID, made: Catalogue) -> None:
    for place in shelves.places:
        for name, size in shelves.listed[place.name].items():
            key = key_name(name)
            if key.number and key not in made.keys:
                try:
                    data = place.store.get(name)
                    vault.keys.unwrap(data)
                except Exception as problem:  # noqa: BLE001  (whatever a store or a key says: another place may have it)
                    shelves.notes.append(f"{name} at {place.name} does not open: {type(problem).__name__}")
                    continue
                made.keys[key] = _blob(stream, "key", key.ident, sha256_of(data), size, None)


def _add_file_blobs(shelves: Shelves, stream: uuid.UUID, files: Iterable[PlacedFile], made: Catalogue) -> None:
    """What the shipper stored for files that no set has yet."""
    for sha256 in dict.fromkeys(blob for file in files for blob, *_ in file.pieces):
        if sha256 in made.blobs:
            continue
        name = object_name(str(stream), "blob", sha256)
        sizes = [listed[name] for listed in shelves.listed.values() if name in listed]
        if sizes:
            made.blobs[sha256] = _blob(stream, "blob", sha256, sha256, sizes[0], None)
            made.blobs[sha256].hot = True


def _note_plain_sizes(newest: Newest | None, files: Iterable[PlacedFile], made: Catalogue) -> None:
    """As far as the newest set tells; the others' bodies are not opened for it. Of that set also how much content it holds."""
    if newest is None:
        return
    refs = [(ref.blob, ref.offset, ref.length) for part in newest.of_set.parts for ref in part.chunks]
    for blob, offset, length in [*refs, *(piece[:3] for file in files for piece in file.pieces)]:
        if blob in made.blobs:
            made.blobs[blob].plain_size = max(made.blobs[blob].plain_size, offset + length)
    for row in made.sets:
        if str(row.pk) == newest.found.id:
            row.content_bytes = sum(length for _, _, length in refs) + sum(piece[2] for file in files for piece in file.pieces)


# Rows written


def _write(
    vault: Vault, shelves: Shelves, stream: uuid.UUID, envelopes: Sequence[_Envelope], made: Catalogue, ages: Mapping[str, datetime]
) -> None:
    _insert_all(made.sets)
    keys = [made.keys[key] for key in sorted(made.keys)]
    objects = [*keys, *made.blobs.values(), *made.named.values()]
    _insert_all(objects)
    present: dict[int, set[int]] = {location.pk: set() for location in shelves.in_force}
    copies = []
    for blob in objects:
        # Read back when it was stored: the first set that names it was whole then. A key was read just now.
        checked = vault.clock() if blob.kind == "key" else ages.get(str(blob.made_by_id))
        for location in shelves.in_force:
            there = shelves.listed.get(location.name, {}).get(blob.name) == blob.size
            copies.append(Copy(blob=blob, location_id=location.pk, state=Copy.State.PRESENT if there else Copy.State.OWED))
            if there:
                present[location.pk].add(blob.pk)
                copies[-1].checked_at = checked or vault.clock()
    _insert_all(copies)
    for row, one in zip(made.sets, envelopes, strict=True):
        _note_whole(row, one, made, present, [location for location in shelves.in_force if location.name in shelves.listed])


def _note_whole(row: BackupSet, one: _Envelope, made: Catalogue, present: Mapping[int, set[int]], answering: Sequence[InForce]) -> None:
    """Its list of blobs, and where it is whole by the listings. A location that does not answer now is not held against it: a set that was
    chosen for its month must not be taken for one that never was whole."""
    blobs = {made.blobs[sha256].pk for sha256, _ in one.document["blobs"]}
    keys = {blob.pk for name, blob in made.keys.items() if name.number == row.key_number}
    needed = blobs | {made.named[f"body:{one.ident}"].pk, made.named[f"envelope:{one.ident}"].pk}
    whole = {location.pk for location in answering if keys & present[location.pk] and needed <= present[location.pk]}
    row.blob_ids = idset.packed(blobs)
    row.complete_at = row.ended_at if whole else None
    row.protected_at = row.ended_at if whole and all(location.pk in whole for location in answering if location.required) else None
    if not whole:
        row.trouble = "It was whole at no location when the service was recovered."
    save(row, "blob_ids", "complete_at", "protected_at", "trouble")


def _write_runs(stream: uuid.UUID, envelopes: Sequence[_Envelope], made: Catalogue) -> None:
    """The nights of which we know: those with a set that stands, and those that were told to be missed or failed."""
    versions, rows = policies.versions(), dict[date, Run]()
    if not versions:
        return
    for row in made.sets:
        if row.policy is not None:
            night = nights.night_called(row.night, versions)
            rows[row.night] = _run(stream, night, Run.State.DONE, row)
    customer = None if stream == SYSTEM_STREAM else stream
    told = {Event.NIGHT_MISSED.value: Run.State.MISSED, Event.BACKUP_FAILED.value: Run.State.FAILED}
    for event, facts in Recorded.objects.filter(event__in=told, customer=customer).order_by("number").values_list("event", "facts"):
        label = date.fromisoformat(str(facts["night"]))  # type: ignore[index]
        if label not in rows or rows[label].state != Run.State.DONE:
            rows[label] = _run(stream, nights.night_called(label, versions), told[event], None)
    _insert_all([rows[label] for label in sorted(rows)])


def _run(stream: uuid.UUID, night: nights.Night, state: Run.State, made: BackupSet | None) -> Run:
    begun = made.snapshot_at if made else None
    run = Run(stream_id=stream, night=night.label, state=state, policy=night.policy.number, due_at=night.due_at, ends_at=night.ends_at)
    run.next_try_at, run.started_at, run.ended_at = night.due_at, begun, made.ended_at if made else night.ends_at
    run.attempts, run.backup_set = int(made is not None), made
    run.late = begun is not None and nights.is_late(begun, night.ends_at)
    return run


def _write_chunks(vault: Vault, stream: uuid.UUID, newest: Newest, files: Sequence[PlacedFile], made: Catalogue) -> None:
    """Where the chunks of the newest set and of all files lie, so that the next set reuses them. Only of the newest key: a set must open
    with one."""
    of_set = newest.of_set
    if not made.keys or of_set.key.number != max(made.keys).number or of_set.further_keys:
        return
    key = key_at(vault.keys, vault.places, str(stream), of_set.key.number, made.notes)
    found: dict[tuple[int, int, int, bytes], Chunk] = {}
    for part in of_set.parts:
        for ref in part.chunks:
            _chunk(found, key, made, ref.blob, ref.offset, ref.length, bytes.fromhex(ref.sha256))
    of_files = [[_chunk(found, key, made, *piece) for piece in file.pieces] for file in files]
    _insert_all(list(found.values()))
    stored = {
        (file.sha256, tuple(chunk.pk for chunk in chunks if chunk is not None))
        for file, chunks in zip(files, of_files, strict=True)
        if len(chunks) > 1 and all(chunks)
    }
    _insert_all([StoredFile(stream_id=stream, digest=key.digest(bytes.fromhex(sha256)), chunk_ids=list(ids)) for sha256, ids in stored])


def _chunk(
    found: dict[tuple[int, int, int, bytes], Chunk], key: StreamKey, made: Catalogue, blob: str, offset: int, length: int, sha256: bytes
) -> Chunk | None:
    row = made.blobs.get(blob)
    if row is None:
        return None
    where = row.pk, offset, length, sha256
    if where not in found:
        found[where] = Chunk(stream_id=row.stream_id, digest=key.digest(sha256), blob=row, offset=offset, length=length)
    return found[where]


def _insert_all(rows: Sequence[Any]) -> None:
    for start in range(0, len(rows), BATCH):
        insert(rows[start : start + BATCH])
