"""Where content leaves a backup: the reader with the customer's suppression list before it (P9; design section 8)."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable, Iterator, Sequence

from audit.registry import SYSTEM_STREAM
from backups.errors import Gap, KeysMissing, NoLocation, NotCovered
from backups.locations import Place
from backups.models import Purge
from backups.moments.making import open_moment
from backups.purge.suppressing import NOTE, SuppressingReader
from backups.purge.suppression import Entries, opened, recorded
from backups.reading import Reader, find_sets, open_set
from backups.vault import Vault
from subscriptions.models import Customer

PURGES = Purge._meta.label_lower


def suppressing(vault: Vault, places: Sequence[Place], stream: uuid.UUID, reader: Reader) -> Reader:
    """The reader itself when nothing of the customer was ever purged. Raises `KeysMissing` when the list cannot be read: then nothing is
    given out. The list of a customer that this database does not know is read from the system stream at the places."""
    if stream == SYSTEM_STREAM:
        return reader
    entries = recorded(stream) if Customer.objects.filter(pk=stream).exists() else list(_at_places(vault, places, stream, reader.notes))
    if not entries:
        return reader
    reader.notes.append(NOTE)
    return SuppressingReader(reader, opened(entries, vault.keys, places, stream, reader.notes))


def _at_places(vault: Vault, places: Sequence[Place], stream: uuid.UUID, notes: list[str]) -> Iterator[Entries]:
    """From the newest second of the system stream, else its newest set."""
    troubles: list[str] = []
    if not find_sets(places, str(SYSTEM_STREAM), vault.fingerprint, troubles):
        notes.append("What was purged of this customer is not known here: the places have no set of the system stream")
        return
    system, close = _system(vault, places, troubles)
    try:
        part = system.part("rows", PURGES)
        for line in system.lines(part) if part else ():
            row = json.loads(line)
            if row["customer_id"] == str(stream):
                digests, numbers = (base64.b64decode(row[name]) for name in ("digests", "numbers"))
                counts = row["counts"] if isinstance(row["counts"], dict) else json.loads(row["counts"])
                yield Entries(row["key_number"], frozenset(counts), row["newest_history"], digests, numbers)
    finally:
        close()


def _system(vault: Vault, places: Sequence[Place], notes: list[str]) -> tuple[Reader, Callable[[], None]]:
    try:
        moment = open_moment(vault, places, str(SYSTEM_STREAM), None, notes, wants=lambda part: part.model == PURGES)
    except (NotCovered, Gap, KeysMissing, NoLocation):
        newest = find_sets(places, str(SYSTEM_STREAM), vault.fingerprint, notes)[0]
        return open_set(places, vault.keys, str(SYSTEM_STREAM), newest, notes), lambda: None
    return moment, moment.close
