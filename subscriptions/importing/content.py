"""A whole folder into one customer's live content, part by part. What is refused is left as it was, and the rest goes on.

Never: a row deleted because its file was refused or could not be read. What is missing is deleted only on request, and then

    rows of a kind     when their own file was read whole
    whole kinds        when `records/` is there and nothing in it was refused: a refused file may be the missing kind under another name
    uploads            when `uploads/` is there and nothing below it was refused
    links              when `links.csv` was read whole
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.db import transaction

from audit import capture
from audit.files import UploadsUnavailable
from subscriptions.importing.folder import LINKS, RECORDS, UPLOADS, Found, ImportFolder
from subscriptions.importing.report import NOT_ASKED, FileRefused, ImportReport, Outcome, Problems, Progress, shown
from subscriptions.importing.tables import LinkTable, RecordTable, Table, delete_rows, import_table, note_missing, one_import_at_a_time
from subscriptions.importing.uploads import UploadImport
from subscriptions.models import Customer, DataRecord


def import_content(customer: Customer, folder: Path, *, delete_missing: bool = False, progress: Progress | None = None) -> ImportReport:
    """Makes the customer's content equal to the folder's; importing again writes only what changed. All or nothing per file.

    Inside `audit.acting(...)`. Raises `NothingToImport`, `Frozen`, `NoActor`, `UploadsUnavailable`; what is wrong with one file stands
    in the report. `progress` gets a line of text, often.
    """
    return _Import(customer, Path(folder), delete_missing, progress or _silent).run()


class _Import:
    def __init__(self, customer: Customer, folder: Path, delete_missing: bool, progress: Progress) -> None:
        self.customer = customer
        self.folder = ImportFolder(folder)
        self.delete_missing = delete_missing
        self.progress = progress
        self.report = ImportReport(customer.code, shown(self.folder.root), ignored=self.folder.ignored())

    def run(self) -> ImportReport:
        began = time.monotonic()
        with transaction.atomic():
            capture.enter_streams({self.customer.pk})  # frozen, or nobody acting: said before the work, not after it
        self._records()
        self._links()
        self._uploads()
        self.report.seconds = round(time.monotonic() - began, 3)
        return self.report

    def _records(self) -> None:
        delivered = set()
        for found in self.folder.tables():
            if isinstance(found, Found):
                delivered.add(found.name)
                self._guarded(found, self._kind)
            else:
                self.report.refused.append(found)
        for kind in sorted(self._live_kinds() - delivered):
            self.report.records[kind] = self._missing_table(RecordTable(self.customer, kind), RECORDS)

    def _links(self) -> None:
        if self.folder.has(LINKS):
            self._guarded(self.folder.links(), self._link_table)
        else:
            self.report.links = self._missing_table(LinkTable(self.customer), LINKS)

    def _uploads(self) -> None:
        uploads = UploadImport(self.customer, self.folder, self.progress)
        for found in self.folder.uploads():
            if isinstance(found, Found):
                self._guarded(found, uploads.take)
            else:
                self.report.refused.append(found)
        self.report.uploads = uploads.finish(kept_because=self._kept_because(UPLOADS))

    def _guarded(self, found: Found, take: Callable[[Found], None]) -> None:
        """One file; what it has wrong goes to the report."""
        try:
            take(found)
        except FileRefused as refused:
            self.report.refused += refused.refusals
        except UploadsUnavailable:
            raise  # not this file's fault, and the next one would fare no better
        except OSError as problem:
            self.report.refused += found.refused(f"cannot be read: {problem.strerror or problem}").refusals

    def _kind(self, found: Found) -> None:
        table, problems = RecordTable(self.customer, found.name), Problems(found.shown)
        table.check_kind(problems)
        problems.refuse()
        self.report.records[found.name] = self._table(table, found)

    def _link_table(self, found: Found) -> None:
        self.report.links = self._table(LinkTable(self.customer), found)

    def _table(self, table: Table, found: Found) -> Outcome:
        open_file = partial(self.folder.open, found)
        return import_table(table, open_file, file=found.shown, delete_missing=self.delete_missing, progress=self.progress)

    def _missing_table(self, table: Table, part: str) -> Outcome:
        """All live rows of a table whose file is not in the folder."""
        keys = array("q", table.live().values_list("pk", flat=True).order_by("pk").iterator())
        outcome = Outcome(kept_because=self._kept_because(part) if keys else "")
        note_missing(outcome, table.live(), "reference", iter(keys))
        if keys and not outcome.kept_because:
            with transaction.atomic():
                one_import_at_a_time(self.customer)
                outcome.deleted = delete_rows(table.live(), keys)
        return outcome

    def _live_kinds(self) -> set[str]:
        return set(DataRecord.objects.filter(customer=self.customer).values_list("kind", flat=True).distinct())

    def _kept_because(self, part: str) -> str:
        """Why what the folder does not have of this part is kept all the same; empty when it is to be deleted."""
        if not self.folder.has(part):
            return f"the folder has no {part}"
        if any(Path(file).parts[0] == part for file in self.report.refused_files):
            return f"something in {part} was refused"
        return "" if self.delete_missing else NOT_ASKED


def _silent(line: str) -> None:
    """Nobody watches."""
