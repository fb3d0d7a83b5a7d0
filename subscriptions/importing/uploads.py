"""The files below `uploads/`: read in pieces, compared by SHA-256 before anything is stored, each in a transaction of its own.

Neither hashing nor storing happens inside a transaction: on SQLite that would keep every other writer out meanwhile.
"""

from __future__ import annotations

import mimetypes
import os
from typing import Any, BinaryIO

from django.core.files.base import File
from django.db import IntegrityError, transaction

from audit import files
from audit.errors import Unstorable
from audit.tracked import TrackedQuerySet
from audit.values import check_values
from subscriptions.importing.folder import Found, ImportFolder
from subscriptions.importing.liverows import LiveRows
from subscriptions.importing.report import FileRefused, Outcome, Progress, Refusal
from subscriptions.importing.tables import BATCH_ROWS, delete_rows, note_missing, one_import_at_a_time
from subscriptions.models import Customer, UploadedContent

# Without the machine's own lists of types: the same folder gives the same rows everywhere.
_TYPES = mimetypes.MimeTypes()


class _WatchedFile(File):
    """Tells how much of a large file was read, and refuses it when it is written meanwhile: what is digested is what is stored."""

    def __init__(self, file: BinaryIO, found: Found, progress: Progress) -> None:
        super().__init__(file, name="upload")
        self._source = file
        self._found = found
        self._progress = progress
        self._version = self._version_now()

    def read(self, *args: Any) -> bytes:
        piece = self._source.read(*args)
        if self._version_now() != self._version:
            raise self._found.refused("changes while it is read; import again when it is finished")
        self._progress(f"{self._found.shown}: {self._source.tell():,} bytes read")
        return piece

    def _version_now(self) -> tuple[int, ...]:
        status = os.fstat(self._source.fileno())
        return status.st_mtime_ns, status.st_ctime_ns, status.st_size


class UploadImport:
    """The uploads of one customer. After `take` for each file, `finish` sees to those that are missing."""

    def __init__(self, customer: Customer, folder: ImportFolder, progress: Progress) -> None:
        self.customer = customer
        self.folder = folder
        self.progress = progress
        self.outcome = Outcome()
        rows = self._rows().values_list("pk", "name", "sha256").iterator(chunk_size=BATCH_ROWS)
        self.live = LiveRows((key, name, bytes.fromhex(sha256)) for key, name, sha256 in rows)

    def take(self, found: Found) -> None:
        """Stores the file if it is new or changed. Raises `FileRefused` and `OSError`; then the live upload is as it was."""
        place = self.live.place(found.name)
        self.live.seen(place, 1)
        try:
            with self.folder.open(found) as file:
                self._compare(found, place, _WatchedFile(file, found, self.progress))
        except Unstorable as problem:
            raise found.refused(str(problem)) from problem
        except (IntegrityError, UploadedContent.DoesNotExist) as problem:
            raise found.refused("somebody else changed this upload at the same moment; import again") from problem

    def finish(self, *, kept_because: str) -> Outcome:
        """Counts the live uploads that the folder does not have, and deletes them unless there is a reason to keep them."""
        note_missing(self.outcome, self._rows(), "name", self.live.unseen())
        self.outcome.kept_because = kept_because if self.outcome.missing else ""
        if self.outcome.missing and not kept_because:
            with transaction.atomic():
                one_import_at_a_time(self.customer)
                self.outcome.deleted = delete_rows(self._rows(), self.live.unseen())
        return self.outcome

    def _compare(self, found: Found, place: int, file: _WatchedFile) -> None:
        key = self.live.key(place)
        if not key:
            self._check(found)
        sha256, _ = files.digest_of(file)
        if self.live.is_same(place, bytes.fromhex(sha256)):
            self.outcome.unchanged += 1
            return
        self._save(UploadedContent.objects.get(pk=key) if key else UploadedContent(customer=self.customer, name=found.name), file)
        self.outcome.created += not key
        self.outcome.changed += bool(key)

    def _save(self, upload: UploadedContent, file: _WatchedFile) -> None:
        upload.file = file
        upload.content_type = _TYPES.guess_type(upload.name)[0] or "application/octet-stream"
        upload.save()

    def _check(self, found: Found) -> None:
        """Before a long name costs a large file's reading."""
        try:
            check_values(UploadedContent(customer=self.customer, name=found.name))
        except Unstorable as problem:
            raise FileRefused(Refusal(found.shown, f"the {problem}")) from problem

    def _rows(self) -> TrackedQuerySet:
        return UploadedContent.objects.filter(customer=self.customer)
