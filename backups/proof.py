"""The nightly proof, inside the snapshot that the set is made of (P8; design section 6): the rows are what history says, and history is
what the last set had and was numbered since.

Nothing moves meanwhile, so nothing is raised falsely. A set whose proof is broken is a set nevertheless: it holds what there was. What the
last proved set vouches for is recomputed every 28th night, each customer on another one, and every night while the newest set's proof is
broken: what was altered long ago is found, and found again until it is mended. `verify_audit` recomputes it at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from audit import chain, events, journal_proof, registry
from audit.chain import Head
from audit.events import Event
from audit.images import compared
from audit.schema import versions
from backups.hot import timelines
from backups.models import BackupSet
from backups.purge.recorded import recorded_numbers
from backups.snapshot import Snapshot
from backups.statements import ask
from backups.verdicts import Verdict

_SETS = BackupSet._meta.db_table
_EARLIER = (
    f"SELECT journal_number, journal_digest, proof FROM {_SETS} "  # noqa: S608  (names from the model)
    "WHERE stream_id = %s AND state = %s AND started_at <= %s AND id <> %s ORDER BY started_at DESC"
)

# From one night of a stream on which its whole chain is recomputed to the next.
WHOLE_EVERY = 28


class _Earlier(NamedTuple):
    """Where the newest proved set ended (the start when there is none), how the sets made after it end, and whether one of those is
    broken."""

    last: Head
    since: dict[int, str]
    broken: bool


def prove(moment: Snapshot, backup_set: BackupSet, images: Mapping[str, int], fingerprint: str) -> Verdict:
    """Of the set's stream as the snapshot has it, of which the set has noted where the journal stands. `images` counts the history rows of
    each model; the key of that fingerprint signed the schema's versions that count."""
    verdict = Verdict()
    for protected in registry.of_stream(backup_set.stream_id):
        found = compared(protected, backup_set.stream_id, moment.connection, images=images.get(protected.label, 0))
        verdict.count_rows(found.counts)
        for one in found.examples:
            verdict.tell_row(protected.label, one.fault, one.key, one.reference, one.history_id, one.fields)
    _prove_journal(moment, backup_set, verdict, fingerprint)
    return verdict


def record_failure(backup_set: BackupSet, verdict: Verdict) -> None:
    """A broken proof as an event, in the caller's transaction. Stands inside `audit.acting(...)`."""
    if not verdict.proved:
        customer = backup_set.stream_id if backup_set.stream_id != registry.SYSTEM_STREAM else None
        facts = {"night": backup_set.night.isoformat(), "set": str(backup_set.id), **verdict.counts}
        events.record(Event.PROOF_FAILED, subject=backup_set, customer=customer, facts=facts)


def _prove_journal(moment: Snapshot, backup_set: BackupSet, verdict: Verdict, fingerprint: str) -> None:
    """The last proved set's changes are there still, and from its head on, or from the start, the chain recomputes to the head that the
    envelope signs."""
    stream, (last, since, broken) = backup_set.stream_id, _earlier(backup_set)
    forks = timelines.forks() if backup_set.timeline > 1 else {}
    _prove_prefix(moment, stream, last, forks.get(stream, {}), verdict)
    begin = chain.START if broken or is_whole(stream, backup_set.night) else last
    lineage = versions.lineage(fingerprint, moment.connection)
    walk = journal_proof.Recomputation(moment.connection, forks, purged=recorded_numbers(moment), lineage=lineage)
    for misfit in walk.of_stream(stream, begin, since):
        verdict.tell_chain(misfit.what, misfit.number, misfit.model, misfit.key, misfit.history_id)
    verdict.after, verdict.changes, verdict.vouched = begin.number, walk.changes, walk.vouched.total()


def _prove_prefix(moment: Snapshot, stream: uuid.UUID, last: Head, forks: Mapping[Head, Head], verdict: Verdict) -> None:
    if not last.number:
        return
    # Where a timeline has just begun the chain stands at a number that no change has.
    end = next((leaves for leaves, landing in forks.items() if landing == last), last)
    count, digest, unsalted = journal_proof.numbers_up_to(moment.connection, stream, end.number)
    never_used = sum(landing.number - leaves.number for leaves, landing in forks.items() if landing.number <= end.number)
    if count != end.number - never_used:
        verdict.tell_chain(f"the last proved set ended with change {end.number}; of the changes up to it {count:,} are there", None)
    if end.number and digest != end.digest:
        verdict.tell_chain("the last proved set ended with this change, and with another digest", end.number)
    for number in _unrecorded(moment, stream, end.number) if unsalted else ():
        verdict.tell_chain(journal_proof.UNRECORDED, number)


def _unrecorded(moment: Snapshot, stream: uuid.UUID, up_to: int) -> list[int]:
    """Changes whose content is gone, and that no purge lists."""
    listed = recorded_numbers(moment)(stream)
    return [number for number in journal_proof.without_salt(moment.connection, stream, up_to) if number not in listed]


def is_whole(stream: uuid.UUID, night: date) -> bool:
    """Whether that night's proof recomputes the stream's chain from its first number on."""
    return (stream.int + night.toordinal()) % WHOLE_EVERY == 0


def _earlier(backup_set: BackupSet) -> _Earlier:
    since: dict[int, str] = {}
    broken = False
    for number, digest, proof in ask(_EARLIER, backup_set.stream_id, BackupSet.State.MADE, backup_set.started_at, backup_set.id):
        if proof == BackupSet.Proof.PROVED:
            return _Earlier(Head(number, digest) if number else chain.START, since, broken)
        broken = broken or proof == BackupSet.Proof.BROKEN
        if number:
            since[number] = digest
    return _Earlier(chain.START, since, broken)
