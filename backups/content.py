"""Reading a stream's content for a set: rows, history and journal inside one snapshot, then the files that they name (design section 5)."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import IO, Any

from django.core.files.storage import Storage
from django.db import models

from audit import registry, rows
from audit.fields import TrackedFileField
from audit.files import read_stored
from audit.models import ChainHead, JournalRow, RowShape, SchemaVersion
from audit.registry import Protected
from backups import proof, spool
from backups.chunks import MAX_PLAIN_BYTES, Chunk, batched, cut, cut_file
from backups.depositing import Deposit, Slip
from backups.manifest import Part
from backups.models import BackupSet, HotState, StoredFile
from backups.snapshot import Snapshot, snapshot
from backups.vault import Vault
from backups.verdicts import Verdict

FILES_WAITING = 1000
SHA256 = re.compile(r"[0-9a-f]{64}")

FILE_COLUMNS = [{"name": "name", "kind": "text", "null": False}, {"name": "sha256", "kind": "text", "null": False}]


@dataclass(slots=True)
class Draft:
    """A part being read: its chunks' slips with the rows that end in each."""

    part: Part
    slips: list[tuple[Slip, int]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return sum(count for _, count in self.slips)

    def finished(self) -> Part:
        self.part.chunks = [slip.ref(count) for slip, count in self.slips]
        return self.part


@dataclass(frozen=True, slots=True)
class WantedFile:
    """A stored file that rows or history name, with the digest and size that stand beside its name."""

    name: str
    sha256: str
    size: int


class ContentReader:
    """Feeds one stream's whole content to a deposit and returns the set's parts."""

    def __init__(self, vault: Vault, backup_set: BackupSet, deposit: Deposit, progress: Callable[[str], None]) -> None:
        self.vault, self.set, self.deposit = vault, backup_set, deposit
        self.stream = backup_set.stream_id
        self.progress = progress
        self._told_at, self._rows = time.monotonic(), 0
        self.shapes: list[dict[str, Any]] = []
        self.schema_version: dict[str, Any] | None = None
        self.verdict = Verdict()

    def read(self) -> list[Part]:
        """The parts in the order of restoring; every chunk is stored or on its way when it returns."""
        drafts: list[Draft] = []
        file_lists: list[tuple[Protected, TrackedFileField, IO[str]]] = []
        with ExitStack() as listings:
            with snapshot() as moment:
                self.set.snapshot_at = self.vault.clock()
                self._note_journal(moment)
                for protected in registry.of_stream(self.stream):
                    drafts += self._model_parts(moment, protected)
                    for one in protected.files:
                        listing = listings.enter_context(spool.listing(self.vault.spool))
                        _write_names(listing, moment, protected, one, self.stream)
                        file_lists.append((protected, one, listing))
                drafts.append(self._journal_part(moment))
                self._prove(moment, drafts)
            drafts += [self._files_part(protected, one, listed) for protected, one, listed in file_lists]
        self.deposit.seal_rest()
        return [draft.finished() for draft in drafts]

    def _prove(self, moment: Snapshot, drafts: list[Draft]) -> None:
        images = {draft.part.model: draft.rows for draft in drafts if draft.part.what == "history"}
        self.verdict = proof.prove(moment, self.set, images, self.vault.fingerprint)
        self.set.proof, self.set.proof_text = self.verdict.result, self.verdict.text
        self.set.proved_at = self.vault.clock()
        self.deposit.lease.keep()

    def _note_journal(self, moment: Snapshot) -> None:
        """Where the stream's chain and the segments stand: from there the seconds after this set go on."""
        for number, digest, at in moment.converted(ChainHead.objects.filter(pk=self.stream).values_list("number", "digest", "at")):
            self.set.journal_number, self.set.journal_digest, self.set.journal_at = number, digest, at
        for timeline, segment in moment.values(HotState.objects.values_list("timeline", "last_segment")):
            self.set.timeline, self.set.segment = timeline, segment
        newest = SchemaVersion.objects.order_by("-number").values_list("number", "began_at")[:1]
        for number, began_at in moment.converted(newest):
            self.schema_version = {"number": number, "began": began_at.isoformat()}
        self.shapes = [
            {"id": ident, "model": model, "columns": json.loads(columns)}
            for ident, model, columns in moment.values(RowShape.objects.order_by("id").values_list("id", "model", "columns"))
        ]

    def _model_parts(self, moment: Snapshot, protected: Protected) -> list[Draft]:
        history = protected.history_model
        file_columns = [
            [_column(protected.model, name) for name in (one.name, one.digest_field, one.size_field)] for one in protected.files
        ]
        parts = []
        for what, queryset in (
            ("rows", protected.rows(self.stream)),
            ("history", models.QuerySet(history).filter(history_stream=self.stream)),
        ):
            part = Part(what, protected.label, _columns(queryset.model), _key(queryset.model), _reference(protected), file_columns)
            part.parents = protected.parents if what == "rows" else None
            parts.append(self._rows_part(moment, part, queryset))
        return parts

    def _journal_part(self, moment: Snapshot) -> Draft:
        part = Part("journal", JournalRow._meta.label_lower, _columns(JournalRow), _key(JournalRow))
        return self._rows_part(moment, part, JournalRow.objects.filter(stream=self.stream))

    def _rows_part(self, moment: Snapshot, part: Part, queryset: models.QuerySet) -> Draft:
        draft = Draft(part)
        with closing(cut(moment.batches(queryset, self.stream))) as chunks:
            for chunk in chunks:
                self._add(draft, chunk)
                self._tell(f"{part.what} of {part.model}", chunk.rows)
        return draft

    def _add(self, draft: Draft, chunk: Chunk) -> None:
        draft.slips.append((self.deposit.add(chunk), chunk.rows))
        self.deposit.lease.keep()

    def _files_part(self, protected: Protected, one: TrackedFileField, listed: IO[str]) -> Draft:
        draft = Draft(Part("files", protected.label, FILE_COLUMNS, "name"))
        listed.seek(0)
        wanted = (WantedFile(*json.loads(line)) for line in listed)
        for chunk in cut(batched(self._index_lines(one.storage, wanted))):
            self._add(draft, chunk)
        return draft

    def _index_lines(self, storage: Storage, wanted: Iterator[WantedFile]) -> Iterator[tuple[str, bytes]]:
        """One line a file, once the blobs that its bytes lie in are known."""
        waiting: deque[tuple[WantedFile, list[Slip] | None]] = deque()
        for file in wanted:
            waiting.append((file, self._store_file(storage, file)))
            self._tell("files", 1)
            if len(waiting) > FILES_WAITING:
                self.deposit.seal_rest()
            while waiting and _complete(waiting[0][1]):
                yield self._index_line(*waiting.popleft())
        self.deposit.seal_rest()
        while waiting:
            yield self._index_line(*waiting.popleft())

    def _index_line(self, file: WantedFile, slips: list[Slip] | None) -> tuple[str, bytes]:
        line: dict[str, Any] = {"name": file.name, "sha256": file.sha256, "size": file.size}
        if slips is None:
            line["absent"] = True
        else:
            line["parts"] = [[slip.blob_sha256, slip.offset, slip.length] for slip in slips]
            self._remember_large(file, slips)
        return file.name, json.dumps(line, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    def _store_file(self, storage: Storage, file: WantedFile) -> list[Slip] | None:
        """Slips for the file's chunks; None when the upload storage has it no longer as it was."""
        self.set.content_bytes += file.size
        known = self._known(file)
        if known is not None:
            return known
        sha256, size, whole = hashlib.sha256(), 0, False
        slips: list[Slip] = []

        def pieces() -> Iterator[bytes]:
            nonlocal size
            for piece in read_stored(storage, file.name):
                sha256.update(piece)
                size += len(piece)
                yield piece

        try:
            for chunk in cut_file(pieces()):
                slips.append(self.deposit.add(chunk))
                self.deposit.lease.keep()
            whole = (sha256.hexdigest(), size) == (file.sha256, file.size)
        except FileNotFoundError:
            whole = False
        self.set.absent_files += not whole
        return slips if whole else None

    def _known(self, file: WantedFile) -> list[Slip] | None:
        if not SHA256.fullmatch(file.sha256):
            return None
        digest = self.deposit.key.digest(bytes.fromhex(file.sha256))
        if file.size <= MAX_PLAIN_BYTES:
            found = self.deposit.find(digest)
            return [self.deposit.reuse(found)] if found is not None and found.length == file.size else None
        for stored in StoredFile.objects.filter(stream=self.stream, digest=digest):
            slips = self.deposit.reuse_all(stored.chunk_ids)
            if slips is not None:
                return slips
        return None

    def _remember_large(self, file: WantedFile, slips: list[Slip]) -> None:
        if len(slips) < 2:
            return
        self.deposit.intend()
        digest = self.deposit.key.digest(bytes.fromhex(file.sha256))
        chunk_ids = [slip.chunk_id for slip in slips]
        if not StoredFile.objects.filter(stream=self.stream, digest=digest, chunk_ids=chunk_ids).exists():
            StoredFile.objects.create(stream_id=self.stream, digest=digest, chunk_ids=chunk_ids)

    def _tell(self, what: str, count: int) -> None:
        self._rows += count
        if time.monotonic() - self._told_at > 2:
            self._told_at = time.monotonic()
            self.progress(f"{what}: {self._rows:,} rows and files so far, {len(self.deposit.new_bytes)} new blobs")


def _complete(slips: list[Slip] | None) -> bool:
    return slips is None or all(slip.complete for slip in slips)


def _columns(model: type[models.Model]) -> list[dict[str, Any]]:
    return [column.described() for column in rows.columns(model)]


def _key(model: type[models.Model]) -> str:
    return str(model._meta.pk.column)


def _column(model: type[models.Model], name: str) -> str:
    return str(next(field.column for field in model._meta.concrete_fields if field.name == name))


def _reference(protected: Protected) -> str:
    return _key(protected.model) if protected.reference == "pk" else _column(protected.model, protected.reference)


def _write_names(listing: IO[str], moment: Snapshot, protected: Protected, one: TrackedFileField, stream: Any) -> None:
    """Names, digests and sizes of all versions, in the order of names."""
    names = (one.name, one.digest_field, one.size_field)
    named = {f"{one.name}__gt": ""}  # neither empty nor null
    live = protected.rows(stream).filter(**named).values_list(*names)
    past: models.QuerySet = models.QuerySet(protected.history_model).filter(history_stream=stream, **named).values_list(*names)
    for row in moment.values(live.order_by().union(past.order_by()).order_by(one.name)):
        listing.write(json.dumps(row) + "\n")
