"""One full backup of one customer: `back_up` (P1, P3, P4; design section 5).

Order is safety: intents, blobs, the set's list of blobs, body, envelope. A set counts at a location when its envelope was read back there
after all that it names. Killed at any moment, nothing claims what is not there, and the next run uses what was stored.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

from audit import canonical, chain
from audit.models import Stream
from backups import catalogue, catching_up, leases, leftovers, proof
from backups.catalogue import Inventory
from backups.catching_up import Shelves
from backups.content import ContentReader
from backups.customerkeys import newest_key, refuse_destroyed, refuse_ended
from backups.depositing import Deposit
from backups.errors import LeaseLost, NoLocation
from backups.leases import Held
from backups.manifest import FORMAT, Part, body_lines
from backups.models import BackupSet, Blob, Location
from backups.placing import WORKERS, Errand, Lane
from backups.recovery.state import refuse_under_way
from backups.retention import Stored, Term, aged
from backups.sealing import Sealed, StreamKey, seal
from backups.slots import month_of, night_of, week_of
from backups.statements import insert, save
from backups.vault import Vault
from backups.verdicts import Verdict

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one backup came to. `troubles` by location; `notes` are things mended or found."""

    backup_set: BackupSet
    whole_at: list[str]
    troubles: dict[str, str]
    notes: list[str] = field(default_factory=list)
    caught_up: int = 0

    @property
    def owed(self) -> dict[str, tuple[int, int]]:
        """The copies owed to each location now, of all streams, as (number, bytes)."""
        return catching_up.owed_to(list(Location.objects.filter(in_force=True)))

    @property
    def good(self) -> bool:
        """Whether all that was promised is there: whole at every required location, no file absent, and the rows are what history says."""
        one = self.backup_set
        return one.protected_at is not None and not one.absent_files and one.proof == BackupSet.Proof.PROVED


def back_up(
    vault: Vault,
    stream: Stream,
    *,
    night: date | None = None,
    progress: Progress = lambda _: None,
    workers: int = WORKERS,
    policy: int | None = None,
) -> Outcome:
    """A new set of the stream as it is now, at every location that can be used.

    Raises `Busy`, `NoLocation`, `StreamEnded`, `KeysMissing`, `LeaseLost`, and what the upload storage raises. A location that fails
    on the way is named in the outcome; what it misses is owed to it. `workers` 0 does everything in this thread; `policy` is the number of
    the policy's version that asks for the set, None when a person does.
    """
    refuse_under_way(stream.id)
    refuse_destroyed(stream.id)
    # Whoever asked may find, once the lease is ours, that the set is not wanted any more.
    wanted = partial(progress, "looking at the locations")
    with leases.holding(leases.lease_name(stream.id), doing="backup", clock=vault.clock, wanted=wanted) as lease:
        shelves = _open_shelves(vault, stream.id)
        refuse_ended(shelves.places, stream.id)
        leftovers.settle(vault, shelves, stream.id, lease)
        found, caught_up = catching_up.caught_up(vault, shelves, stream.id, lease)
        backup_set = _begin(vault, stream, night, policy)
        try:
            whole_at = _make(vault, shelves, found, backup_set, lease, progress, workers)
        except Exception as problem:
            _fail(vault, backup_set, problem)
            raise
        swept = leftovers.sweep(vault, shelves, stream.id, lease, found)
    return Outcome(backup_set, whole_at, shelves.troubles, [*shelves.notes, *_notes_of(swept)], caught_up)


def catch_up(vault: Vault, stream: Stream) -> dict[str, str]:
    """Settles what a killed run left, and puts what the locations are owed there; no new set. Returns what was wrong, by location.

    Raises as `back_up` does.
    """
    with leases.holding(leases.lease_name(stream.id), doing="catch-up", clock=vault.clock) as lease:
        shelves = _open_shelves(vault, stream.id)
        refuse_ended(shelves.places, stream.id)
        leftovers.settle(vault, shelves, stream.id, lease)
        catching_up.caught_up(vault, shelves, stream.id, lease)
    return shelves.troubles


def _open_shelves(vault: Vault, stream: uuid.UUID) -> Shelves:
    places, troubles = vault.usable()
    shelves = catching_up.look(places, stream)
    shelves.troubles.update(troubles)
    if not shelves.places:
        raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in shelves.troubles.items()))
    return shelves


def _begin(vault: Vault, stream: Stream, night: date | None, policy: int | None) -> BackupSet:
    now = vault.clock()
    night = night or night_of(now, vault.zone)
    begun = BackupSet(stream=stream, night=night, started_at=now, software_version=vault.software_version, policy=policy)
    begun.week, begun.month = week_of(night).key, month_of(night).key
    insert([begun])
    return begun


def _fail(vault: Vault, backup_set: BackupSet, problem: Exception) -> None:
    """Gives the set up, unless the lease is lost: then its next holder decides what became of the set, and may have done so."""
    if not isinstance(problem, LeaseLost):
        trouble = f"{type(problem).__name__}: {problem}"[:500]
        making = BackupSet.objects.filter(pk=backup_set.pk, state=BackupSet.State.MAKING)
        making.update(state=BackupSet.State.ABANDONED, ended_at=vault.clock(), trouble=trouble)


def _make(
    vault: Vault, shelves: Shelves, found: Inventory, backup_set: BackupSet, lease: Held, progress: Progress, workers: int
) -> list[str]:
    key, unrecorded = newest_key(vault, shelves, backup_set.stream_id, lease, found)
    backup_set.key_number = key.number
    lanes = [Lane(place, workers) for place in shelves.places]
    deposit = Deposit(
        vault,
        lanes,
        backup_set,
        key,
        lease,
        usable=found.usable,
        owed_to=shelves.in_force,
        unrecorded=unrecorded,
        threads=bool(workers),
    )
    try:
        content = ContentReader(vault, backup_set, deposit, progress)
        parts = content.read()
        deposit.finish()
        damaged = catching_up.recheck(vault, shelves, found, backup_set.stream_id, lease, deposit.used)
        body, envelope = _register(vault, backup_set, deposit, content, parts, _sealed_body(backup_set, parts, content.shapes, key))
        everywhere = _place_last(deposit, backup_set, body, envelope)
        if damaged or not everywhere:
            deposit.record()
            catching_up.catch_up(vault, shelves, backup_set.stream_id, lease)
        whole_at = _finish(vault, backup_set, deposit, content.verdict, give_back=found.in_order)
    finally:
        deposit.close()
    shelves.troubles.update({lane.place.name: lane.trouble for lane in lanes if lane.trouble})
    return whole_at


def _count(backup_set: BackupSet, parts: list[Part], deposit: Deposit) -> None:
    counted = {what: sum(part.rows for part in parts if part.what == what) for what in ("rows", "history", "files")}
    backup_set.rows, backup_set.history_rows, backup_set.files = counted["rows"], counted["history"], counted["files"]
    backup_set.content_bytes += sum(chunk.length for part in parts for chunk in part.chunks)
    backup_set.new_bytes, backup_set.new_blobs = sum(deposit.new_bytes.values()), len(deposit.new_bytes)
    backup_set.reused_blobs = len(deposit.used) - len(deposit.new_bytes)


def _sealed_body(backup_set: BackupSet, parts: list[Part], shapes: list[dict[str, Any]], key: StreamKey) -> Sealed:
    about = {"set": str(backup_set.id), "stream": str(backup_set.stream_id), "software": backup_set.software_version}
    head = {**about, "shapes": shapes}
    return seal("".join(body_lines(head, parts)).encode(), key.recipient)


@dataclass(frozen=True, slots=True)
class _Made:
    """An object of the set, intended, and its bytes."""

    blob: Blob
    data: bytes

    @property
    def errand(self) -> Errand:
        return Errand(self.blob.id, self.blob.name, self.blob.sha256, given=self.data)


def _register(
    vault: Vault, backup_set: BackupSet, deposit: Deposit, content: ContentReader, parts: list[Part], body: Sealed
) -> tuple[_Made, _Made]:
    """The set names its blobs, from now on; its body and its envelope are intended. One transaction."""
    stream, ident = backup_set.stream_id, str(backup_set.id)
    with leases.fenced(deposit.lease):
        deposit.record()
        _count(backup_set, parts, deposit)
        named = catalogue.register_blobs(deposit.lease, backup_set, deposit.used)
        stored_body = catalogue.unstored(stream, "body", ident, body.data, plain_size=body.plain_size, made_by=backup_set)
        envelope = _signed_envelope(vault, backup_set, content, parts, stored_body, named)
        stored_envelope = catalogue.unstored(stream, "envelope", ident, envelope, made_by=backup_set)
        catalogue.intend(deposit.lease, [stored_body, stored_envelope], deposit.owed_to)
    return _Made(stored_body, body.data), _Made(stored_envelope, envelope)


def _place_last(deposit: Deposit, backup_set: BackupSet, body: _Made, envelope: _Made) -> bool:
    """The body everywhere, then the envelope where all is that the set names. Returns whether every lane has placed it."""
    missing = catching_up.missing_by_place([lane.place for lane in deposit.lanes], backup_set)
    _place(deposit, body, deposit.lanes)
    with_body = [lane for lane in deposit.lanes if body.blob.id in lane.placed]
    _place(deposit, envelope, [lane for lane in with_body if missing[lane.place.name] == 1])  # the body alone
    return all(envelope.blob.id in lane.placed for lane in deposit.lanes)


def _place(deposit: Deposit, made: _Made, lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.submit(made.errand)
    deposit.finish()


def _signed_envelope(
    vault: Vault, backup_set: BackupSet, content: ContentReader, parts: list[Part], body: Blob, named: list[tuple[str, int]]
) -> bytes:
    """`named` are the digests and sizes of the set's blobs."""
    envelope = {
        "format": FORMAT,
        "kind": "set",
        "set": str(backup_set.id),
        "stream": str(backup_set.stream_id),
        "night": backup_set.night.isoformat(),
        "snapshot_at": backup_set.snapshot_at.isoformat() if backup_set.snapshot_at else None,
        "made_at": vault.clock().isoformat(),
        "software": backup_set.software_version,
        "policy": backup_set.policy,
        "key": backup_set.key_number,
        "schema": schema_digest(parts),
        "schema_version": content.schema_version,
        "journal": {
            "number": backup_set.journal_number or 0,
            "digest": backup_set.journal_digest or chain.START.digest,
            "at": backup_set.journal_at.isoformat() if backup_set.journal_at else None,
            "segment": backup_set.segment or 0,
            "timeline": backup_set.timeline,
        },
        "proof": content.verdict.document,
        "body": {"name": body.name, "sha256": body.sha256, "size": body.size, "plain_size": body.plain_size},
        "blobs": [[sha256, size] for sha256, size in sorted(named)],
        "counts": {
            "rows": backup_set.rows,
            "history": backup_set.history_rows,
            "journal": sum(part.rows for part in parts if part.what == "journal"),
            "files": backup_set.files,
            "absent_files": backup_set.absent_files,
        },
    }
    return json.dumps(vault.signer.sign(envelope), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def schema_digest(parts: list[Part]) -> str:
    """SHA-256 (hex) over what the set's parts are and which columns they have: equal for sets of one schema version."""
    described = [[part.what, part.model, part.columns] for part in parts]
    return hashlib.sha256(canonical.dump_bytes(described)).hexdigest()


def _finish(vault: Vault, backup_set: BackupSet, deposit: Deposit, verdict: Verdict, *, give_back: bool) -> list[str]:
    """The set is made, and what its proof found is told; the lease is given back in the same transaction when nothing is left to be done
    with it."""
    with leases.fenced(deposit.lease):
        deposit.record()
        whole_at = catching_up.judge_protection(vault, backup_set, deposit.owed_to)
        if backup_set.complete_at is None:
            raise NoLocation("The set is whole at no location.")
        backup_set.state, backup_set.ended_at = BackupSet.State.MADE, vault.clock()
        note_age(vault, backup_set)
        save(backup_set, "complete_at", "protected_at", "state", "ended_at", "goes_at", "kept_why", "kept_policy")
        if give_back:
            leases.release(deposit.lease)
        proof.record_failure(backup_set, verdict)
    return whole_at


def note_age(vault: Vault, backup_set: BackupSet) -> None:
    """When its age alone lets it go. What it is chosen for later is recorded then (`backups/prune/`)."""
    policy = vault.in_force(backup_set.started_at)
    if policy is not None:
        made = Stored(str(backup_set.pk), backup_set.night, backup_set.snapshot_at or backup_set.started_at)
        [nightly], goes_at = aged(made, (), (), policy, Term(policy.longest_years), made.at)
        backup_set.goes_at, backup_set.kept_why, backup_set.kept_policy = goes_at, nightly.words, policy.number


def _notes_of(swept: leftovers.Swept) -> list[str]:
    notes = [f"{swept.removed} leftover objects of earlier runs were removed"] if swept.removed else []
    if swept.unknown:
        notes.append(f"{len(swept.unknown)} objects that nobody stored here were found and left alone, such as {swept.unknown[0]}")
    return [*notes, *(f"could not be removed yet: {one}" for one in swept.left)]
