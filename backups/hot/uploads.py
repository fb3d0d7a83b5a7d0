"""The shipper's side of the file lane: which uploads are new, their intents, and the entries that say where their bytes lie.

Every write is fenced by the shipper's lease.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import models

from audit import registry
from audit.registry import Protected
from backups import catalogue
from backups.catalogue import InForce
from backups.hot.files import BATCH_FILES, Finished, Reading, SealedPack
from backups.hot.keys import Keys
from backups.hot.lanes import LATER, Errand
from backups.hot.numbering import Numbered
from backups.hot.sections import FileEntry
from backups.leases import Held, fenced
from backups.models import Blob, HotFile
from backups.statements import insert

State = HotFile.State
AT_ONCE = 2
# Sealed blobs, of at most 8 MiB, that no location may have yet: beyond that nothing more is read.
MOST_UNPLACED = 8


def new_files(given: Iterable[Numbered]) -> list[HotFile]:
    """For each upload that a change names and no version before it did: its row, not saved yet."""
    found: dict[tuple[str, str, str], HotFile] = {}
    for one in given:
        for change, row in zip(one.section.changes, one.waiting, strict=True):
            protected = registry.by_label(change.model)
            if protected is not None and protected.files:
                for file in _named(protected, one, change.number, row.history_id, row.written_at, json.loads(change.row)):
                    found.setdefault((one.section.stream, change.model, file.name), file)
    return list(found.values())


def _named(
    protected: Protected, given: Numbered, number: int, history_id: int, written_at: datetime, row: Mapping[str, Any]
) -> Iterable[HotFile]:
    if row["history_type"] == "-":
        return
    columns = {one.name: str(one.column) for one in protected.model._meta.concrete_fields}
    before = _before(protected, row, history_id) if row["history_type"] == "~" else {}
    for one in protected.files:
        name = row[columns[one.name]]
        if name and before.get(one.attname, "") != name:
            sha256, size = row[columns[one.digest_field]], row[columns[one.size_field]]
            about = {"model": protected.label, "field": one.attname, "name": name, "sha256": sha256, "size": size}
            yield HotFile(stream_id=uuid.UUID(given.section.stream), number=number, written_at=written_at, **about)


def _before(protected: Protected, row: Mapping[str, Any], history_id: int) -> Mapping[str, str]:
    """The file names of the version before, by field."""
    key: Any = protected.model._meta.pk
    names = [one.attname for one in protected.files]
    versions: Any = models.QuerySet(protected.history_model).filter(**{key.attname: row[str(key.column)]}, history_id__lt=history_id)
    return versions.order_by("-history_id").values(*names).first() or {}


def note_new(files: Sequence[HotFile]) -> list[HotFile]:
    """Writes the rows of those that are not known yet, and returns these. In the transaction that gives their changes the numbers."""
    fresh = []
    for one in files:
        _, made = HotFile.objects.get_or_create(
            stream_id=one.stream_id,
            model=one.model,
            name=one.name,
            defaults={name: getattr(one, name) for name in ("field", "sha256", "size", "number", "written_at")},
        )
        fresh += [one] if made else []
    return fresh


@dataclass(slots=True)
class Desk:
    """The files under way. `entries` are ready to be carried by their stream's next section."""

    lease: Held
    keys: Keys
    record_placed: Callable[[], None] = lambda: None  # in the caller's transaction: what is placed by now is on record
    entries: dict[uuid.UUID, list[tuple[HotFile, FileEntry]]] = field(default_factory=dict)
    _readings: list[Reading] = field(default_factory=list)
    _placed: dict[int, set[int]] = field(default_factory=dict)  # the locations that have it, by the blob
    _errands: dict[int, Errand] = field(default_factory=dict)  # blobs that are not wherever they can be now
    _open: dict[int, HotFile] = field(default_factory=dict)  # all intended, not everywhere yet
    _look: bool = True
    _refused: Mapping[int, set[int]] = field(default_factory=dict)
    _later: dict[int, float] = field(default_factory=dict)
    _given_up: set[int] = field(default_factory=set)
    _keyless: set[uuid.UUID] = field(default_factory=set)  # streams whose files wait for a key, and hold up no other's

    def begin_again(self) -> None:
        """What a shipper before us left half done is done from the start."""
        half = list(HotFile.objects.filter(state__in=(State.WAITING, State.SEALED)))
        with fenced(self.lease):
            _let_go(half)
            HotFile.objects.filter(pk__in=[one.pk for one in half]).update(state=State.WAITING, parts=[])
        for one in HotFile.objects.filter(state__in=(State.STORED, State.ABSENT), segment=None):
            self._ready(one)

    @property
    def waits(self) -> bool:
        """Whether entries wait for a section, or files are under way, or their key is."""
        on_its_way = self._keyless - self.keys.troubles.keys()
        under_way = self.entries or self._readings or self._open or self._errands or on_its_way
        return bool(under_way) or (self._look and self._unbegun().exclude(stream__in=self._keyless).exists())

    def look_again(self) -> None:
        self._look = True

    def attend(self, in_force: Sequence[InForce], healthy: set[int], refused: Mapping[int, set[int]]) -> None:
        """Begins to read what waits, takes what was sealed, notices what is everywhere. `healthy` are the locations that answer and are
        owed nothing; the others are owed the blobs."""
        self._refused = refused
        self._give_up(healthy)
        self._begin()
        for reading in self._readings:
            if len(self._errands) < MOST_UNPLACED:
                self._take(reading, in_force)
        self._readings = [one for one in self._readings if not one.over]
        self._errands = {blob: errand for blob, errand in self._errands.items() if not self._is_placed(blob, healthy)}
        self._settle(healthy)

    def _take(self, reading: Reading, in_force: Sequence[InForce]) -> None:
        for one in reading.taken():
            if isinstance(one, SealedPack):
                errand = self._intend(one, in_force)
                self._errands[errand.key[1]] = errand
            else:
                self._finish(one)

    def to_place(self, location: int) -> list[Errand]:
        """The blobs that this healthy location does not have."""
        return [errand for blob, errand in self._errands.items() if location not in self._placed.get(blob, ())]

    def note_placed(self, location: int, blob: int) -> None:
        self._placed.setdefault(blob, set()).add(location)

    def carried(self, streams: Iterable[uuid.UUID], segment: int) -> None:
        """These streams' entries stand in that segment now. In its transaction; `forget` follows once that is committed."""
        for stream in streams:
            ids = [file.pk for file, _ in self.entries.get(stream, ())]
            HotFile.objects.filter(pk__in=ids).update(segment=segment)

    def forget(self, streams: Iterable[uuid.UUID]) -> None:
        for stream in streams:
            self.entries.pop(stream, None)

    def close(self) -> None:
        for reading in self._readings:
            reading.stop()

    def _begin(self) -> None:
        if not self._look or len(self._readings) >= AT_ONCE:
            return
        waiting = self._unbegun()
        self.keys.ask(self._keyless)
        self._keyless = {stream for stream in self._keyless if self.keys.held(stream) is None}
        first = waiting.exclude(stream__in=self._keyless).first()
        if first is None:
            self._look = bool(self._later or self._keyless)
            return
        self.keys.ask([first.stream_id])
        key = self.keys.held(first.stream_id)
        if key is None:
            self._keyless.add(first.stream_id)
        else:
            files = list(waiting.filter(stream=first.stream_id)[:BATCH_FILES])
            self._start_over(files)
            self._readings.append(Reading(files, key))

    def _unbegun(self) -> models.QuerySet[HotFile]:
        """What waits and is neither under way nor to be tried later."""
        busy = {ident for reading in self._readings for ident in reading.ids} | self._open.keys()
        busy |= {ident for ident, at in self._later.items() if time.monotonic() < at}
        return HotFile.objects.filter(state=State.WAITING).exclude(pk__in=busy).order_by("id")

    def _start_over(self, files: Sequence[HotFile]) -> None:
        """Whatever an earlier try stored of them counts no more."""
        begun = [one for one in files if one.parts]
        if begun:
            with fenced(self.lease):
                _let_go(begun)
                HotFile.objects.filter(pk__in=[one.pk for one in begun]).update(parts=[])
        for one in files:
            one.parts = []
            self._given_up.discard(one.pk)
            self._later.pop(one.pk, None)

    def _intend(self, one: SealedPack, in_force: Sequence[InForce]) -> Errand:
        blob = catalogue.unstored(one.stream, "blob", one.sealed.sha256, one.sealed.data, plain_size=one.sealed.plain_size)
        blob.hot = True
        with fenced(self.lease):
            catalogue.intend(self.lease, [blob], in_force)
            insert(catalogue.chunks_in(blob, one.pack, one.key))
            for ident in {piece.file for piece in one.pieces}:
                row = HotFile.objects.get(pk=ident)
                row.parts += [[blob.sha256, piece.offset, piece.chunk.size, blob.pk] for piece in one.pieces if piece.file == ident]
                row.key = one.key.number
                row.save(update_fields=["parts", "key"])
        return Errand(("blob", blob.pk), blob.name, blob.sha256, blob.size, one.sealed.data)

    def _finish(self, one: Finished) -> None:
        if one.whole is None or one.file in self._given_up:  # the upload storage does not answer, or no location took a part: it waits
            self._later.setdefault(one.file, time.monotonic() + LATER)
            return
        with fenced(self.lease):
            row = HotFile.objects.get(pk=one.file)
            row.state = State.SEALED if one.whole else State.ABSENT
            row.save(update_fields=["state"])
        if one.whole:
            self._open[row.pk] = row
        else:
            self._ready(row)

    def _settle(self, healthy: set[int]) -> None:
        """A file whose blobs are wherever they can be now has its entry."""
        done = [row for row in self._open.values() if all(self._is_placed(part[3], healthy) for part in row.parts)]
        if not done:
            return
        with fenced(self.lease):
            self.record_placed()  # a file that is stored lies in blobs that are: a leader killed in between would leave them intended
            HotFile.objects.filter(pk__in=[row.pk for row in done]).update(state=State.STORED)
        for row in done:
            row.state = State.STORED
            del self._open[row.pk]
            self._ready(row)
        if not (self._open or self._readings or self._errands):
            self._placed.clear()

    def _is_placed(self, blob: int, healthy: set[int]) -> bool:
        at = self._placed.get(blob, set())
        return bool(at) and self._taking(blob, healthy) <= at

    def _taking(self, blob: int, healthy: set[int]) -> set[int]:
        """The healthy locations that do not refuse this very object; the others are owed it."""
        return {location for location in healthy if blob not in self._refused.get(location, ())}

    def _give_up(self, healthy: set[int]) -> None:
        """What every location refuses is tried anew later: it must not fill the room of other customers' files."""
        for blob in [one for one in self._errands if healthy and not self._placed.get(one) and not self._taking(one, healthy)]:
            del self._errands[blob]
            with fenced(self.lease):
                for row in [one for one in HotFile.objects.filter(state__in=(State.WAITING, State.SEALED)) if _has(one, blob)]:
                    HotFile.objects.filter(pk=row.pk).update(state=State.WAITING)
                    self._open.pop(row.pk, None)
                    self._later[row.pk] = time.monotonic() + LATER
                    self._given_up.add(row.pk)

    def _ready(self, row: HotFile) -> None:
        self.entries.setdefault(row.stream_id, []).append((row, _entry(row)))


def _let_go(files: Sequence[HotFile]) -> None:
    """The blobs of these files, but for those that others lie in too, go by the rules of sets from now on: one of which may name them."""
    blobs = {part[3] for one in files for part in one.parts}
    if not blobs:
        return
    others = HotFile.objects.filter(stream__in={one.stream_id for one in files}).exclude(pk__in=[one.pk for one in files])
    shared = {part[3] for one in others.iterator() for part in one.parts}
    Blob.objects.filter(pk__in=blobs - shared).update(hot=False)


def _has(row: HotFile, blob: int) -> bool:
    return any(part[3] == blob for part in row.parts)


def entries_in(stream: uuid.UUID, segment: int) -> list[FileEntry]:
    """The entries that a segment carries for a stream, as they were carried."""
    return [_entry(row) for row in HotFile.objects.filter(stream=stream, segment=segment).order_by("id")]


def _entry(row: HotFile) -> FileEntry:
    parts = None if row.state == State.ABSENT else [part[:3] for part in row.parts]
    return FileEntry(row.model, row.name, row.sha256, row.size, parts, row.key)
