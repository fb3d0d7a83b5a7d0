"""What was loaded is read back: counted, held against its newest history images, and its chain recomputed to what was signed (P4, P8)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from django.db import connection, models

from audit import journal_proof, registry
from audit.images import compared
from audit.models import JournalRow
from backups.errors import ReadBackDiffers
from backups.hot import timelines
from backups.purge.recorded import recorded_numbers
from backups.recovery.loading import Loaded
from backups.recovery.sources import Newest
from backups.snapshot import Snapshot

NAMED = 3


def check(stream: uuid.UUID, newest: Newest, loaded: Loaded) -> list[str]:
    """Raises `ReadBackDiffers`. What the set's own proof had found broken when it was made is a note: it came back as it was."""
    counted = [*_miscounted(stream, loaded)]
    if counted:
        raise ReadBackDiffers(f"{counted[0]}. Nothing of it was kept.")
    faults = [*_unlike_history(stream), *_misfits(stream)]
    if not faults:
        return []
    text = "; ".join(faults[:NAMED])
    if newest.found.envelope.get("proof", {}).get("result") == "broken":
        return [f"The set's proof was broken when it was made, and this came back with it: {text}"]
    raise ReadBackDiffers(f"What was loaded is not what was signed: {text}. Nothing of it was kept.")


def _miscounted(stream: uuid.UUID, loaded: Loaded) -> Iterator[str]:
    for (what, label), expected in loaded.counts.items():
        protected = registry.by_label(label)
        if what == "journal":
            found = JournalRow.objects.filter(stream=stream).count()
        elif protected is None:
            found = 0
        elif what == "rows":
            found = protected.rows(stream).count()
        else:
            found = models.QuerySet(protected.history_model).filter(history_stream=stream).count()
        if found != expected:
            yield f"{found:,} {what} of {label} are there, and {expected:,} were read"


def _unlike_history(stream: uuid.UUID) -> Iterator[str]:
    for protected in registry.of_stream(stream):
        for fault, count in compared(protected, stream, connection).counts.items():
            if count:
                yield f"{count:,} rows of {protected.label} are {fault.value} against their history"


def _misfits(stream: uuid.UUID) -> Iterator[str]:
    walk = journal_proof.Recomputation(connection, timelines.forks(), purged=recorded_numbers(Snapshot(connection)))
    for misfit in (*walk.of_stream(stream), *journal_proof.unpaired(connection, stream)):
        yield f"change {misfit.number}: {misfit.what}" if misfit.number else f"{misfit.model} {misfit.history_id}: {misfit.what}"
