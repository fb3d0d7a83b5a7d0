"""One table against the live rows that it stands for: compared first, without a transaction; written in one, if anything differs.

A file of which nothing changed takes no lock. One that is written is compared again inside the transaction, in which no other import writes
for this customer; ordinary writers go on, and a row that they change meanwhile is either seen or changed after us.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any, BinaryIO

from django.core.exceptions import ObjectDoesNotExist
from django.db import IntegrityError, models, transaction
from django.db.models.functions import Cast

from audit import canonical
from audit.errors import Unstorable
from audit.models import Stream
from audit.tracked import TrackedQuerySet
from audit.values import check_values
from subscriptions.importing.csvrows import Row, read_rows
from subscriptions.importing.jsonrows import read_json_rows
from subscriptions.importing.liverows import LiveRows, digest
from subscriptions.importing.report import MAX_EXAMPLES, NOT_ASKED, FileRefused, Outcome, Problems, Progress, Refusal, short
from subscriptions.models import Customer, DataRecord, Link

BATCH_ROWS = 2000
BATCH_CHARACTERS = 8 * 1024 * 1024
ROWS_A_REPORT = 1000

Opener = Callable[[], AbstractContextManager[BinaryIO]]


class Table(ABC):
    """What the rows of one file are in the database."""

    columns: tuple[str, ...] | None = None

    def __init__(self, customer: Customer) -> None:
        self.customer = customer

    @abstractmethod
    def live(self) -> TrackedQuerySet:
        """The live rows that the file stands for."""

    @abstractmethod
    def live_texts(self) -> Iterator[tuple[int, str, str]]:
        """Primary key, reference and content as `text` has it, of each live row."""

    @abstractmethod
    def text(self, row: Row) -> str:
        """The row's content without its reference, equal exactly when nothing changed."""

    @abstractmethod
    def fill(self, instance: Any, row: Row) -> Any:
        """The instance with the row's content."""

    @abstractmethod
    def new(self, row: Row) -> Any:
        """An unsaved instance of the row."""

    def check(self, row: Row, problems: Problems) -> None:
        """Notes what no database would take."""
        try:
            check_values(self.new(row))
        except Unstorable as problem:
            problems.add(problem.why, row.line, problem.field)


class RecordTable(Table):
    """`records/KIND.csv`, or `records/KIND.ndjson`."""

    def __init__(self, customer: Customer, kind: str) -> None:
        super().__init__(customer)
        self.kind = kind

    def live(self) -> TrackedQuerySet:
        return DataRecord.objects.filter(customer=self.customer, kind=self.kind)

    def live_texts(self) -> Iterator[tuple[int, str, str]]:
        stored = Cast("data", models.TextField())  # as it is stored: canonical already
        return self.live().annotate(text=stored).values_list("pk", "reference", "text").iterator(chunk_size=BATCH_ROWS)

    def text(self, row: Row) -> str:
        return canonical.dumps(row.cells)

    def fill(self, instance: Any, row: Row) -> Any:
        instance.data = row.cells
        return instance

    def new(self, row: Row) -> DataRecord:
        return DataRecord(customer_id=self.customer.pk, kind=self.kind, reference=row.reference, data=row.cells)

    def check(self, row: Row, problems: Problems) -> None:
        # The reader has checked the texts; only lengths are left, and an instance for each of a million rows would double the time.
        if len(row.reference) > REFERENCE_CHARACTERS:
            super().check(row, problems)

    def check_kind(self, problems: Problems) -> None:
        """Notes when the file's name cannot be a kind."""
        try:
            check_values(DataRecord(customer_id=self.customer.pk, kind=self.kind, reference="-", data={}))
        except Unstorable as problem:
            problems.add(f"the name of the file is the kind, and it {problem.why}")


REFERENCE_CHARACTERS = DataRecord._meta.get_field("reference").max_length or 0


class LinkTable(Table):
    """`links.csv`."""

    columns = ("reference", "title", "url")

    def live(self) -> TrackedQuerySet:
        return Link.objects.filter(customer=self.customer)

    def live_texts(self) -> Iterator[tuple[int, str, str]]:
        for key, reference, title, url in self.live().values_list("pk", "reference", "title", "url").iterator(chunk_size=BATCH_ROWS):
            yield key, reference, canonical.dumps([title, url])

    def text(self, row: Row) -> str:
        return canonical.dumps([row.cells["title"], row.cells["url"]])

    def fill(self, instance: Any, row: Row) -> Any:
        instance.title, instance.url = row.cells["title"], row.cells["url"]
        return instance

    def new(self, row: Row) -> Link:
        return Link(customer_id=self.customer.pk, reference=row.reference, **row.cells)

    def check(self, row: Row, problems: Problems) -> None:
        super().check(row, problems)
        if not row.cells["url"].strip():
            problems.add("the address is missing", row.line, "url")


def import_table(table: Table, open_file: Opener, *, file: str, delete_missing: bool, progress: Progress) -> Outcome:
    """Makes the live rows equal to the file's. Raises `FileRefused`, and then nothing of the file was written."""
    found = _Reading(table, file, progress).compare(open_file)
    if found.created or found.changed or (delete_missing and found.missing):
        try:
            return _write(table, open_file, file, delete_missing, progress)
        except (IntegrityError, ObjectDoesNotExist) as problem:
            raise FileRefused(Refusal(file, "somebody else changed these rows at the same moment; import again")) from problem
        except Unstorable as problem:
            raise FileRefused(Refusal(file, str(problem))) from problem
    return found


def delete_rows(rows: TrackedQuerySet, keys: Iterable[int]) -> int:
    """Deletes the rows of these primary keys, in batches; returns how many. Stands inside a transaction."""
    remaining, deleted = iter(keys), 0
    while batch := list(islice(remaining, BATCH_ROWS)):
        deleted += rows.filter(pk__in=batch).tracked_delete()
    return deleted


def note_missing(outcome: Outcome, rows: TrackedQuerySet, name: str, keys: Iterator[int]) -> None:
    """Counts the rows of these primary keys as missing, a few of them by their `name`."""
    first = list(islice(keys, MAX_EXAMPLES))
    outcome.missing = len(first) + sum(1 for _ in keys)
    outcome.examples = list(rows.filter(pk__in=first).order_by("pk").values_list(name, flat=True)) if first else []


def one_import_at_a_time(customer: Customer) -> None:
    """Waits for another import that writes for this customer, until the end of its transaction. Other writers go on (design section 4)."""
    Stream.objects.select_for_update(no_key=True).get(pk=customer.pk)


def _write(table: Table, open_file: Opener, file: str, delete_missing: bool, progress: Progress) -> Outcome:
    with transaction.atomic():
        one_import_at_a_time(table.customer)
        reading = _Reading(table, file, progress)
        outcome = reading.compare(open_file, write=_Batch(table))
        if delete_missing:
            outcome.deleted, outcome.kept_because = delete_rows(table.live(), reading.live.unseen()), ""
    return outcome


class _Reading:
    """One pass through the file beside the live rows."""

    def __init__(self, table: Table, file: str, progress: Progress) -> None:
        self.table = table
        self.problems = Problems(file)
        self.progress = progress
        self.live = LiveRows((key, reference, digest(text)) for key, reference, text in table.live_texts())

    def compare(self, open_file: Opener, write: _Batch | None = None) -> Outcome:
        """Counts what differs, and writes it where `write` is given. Raises `FileRefused` with every problem of the file."""
        outcome = Outcome()
        with open_file() as stream:
            for count, row in enumerate(self._rows(stream), 1):
                self._take(row, outcome, write)
                if count % ROWS_A_REPORT == 0:
                    self.progress(f"{self.problems.file}: {count:,} rows {'written or equal' if write else 'compared'}")
        self.problems.refuse()
        if write:
            write.flush()
        note_missing(outcome, self.table.live(), "reference", self.live.unseen())
        outcome.kept_because = NOT_ASKED if outcome.missing else ""
        return outcome

    def _rows(self, stream: BinaryIO) -> Iterator[Row]:
        if self.problems.file.lower().endswith(".ndjson"):
            return read_json_rows(stream, self.problems)
        return read_rows(stream, self.problems, columns=self.table.columns)

    def _take(self, row: Row, outcome: Outcome, write: _Batch | None) -> None:
        place = self.live.place(row.reference)
        if before := self.live.seen(place, row.line):
            self.problems.add(f"repeats the reference {short(row.reference)} of line {before}", row.line)
            return
        self.table.check(row, self.problems)
        key = self.live.key(place)
        if key and self.live.is_same(place, digest(self.table.text(row))):
            outcome.unchanged += 1
            return
        outcome.created += not key
        outcome.changed += bool(key)
        if write and not self.problems:
            write.add(key, row)


class _Batch:
    """Differing rows until there are enough of them to write."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._clear()

    def _clear(self) -> None:
        self._new: list[Row] = []
        self._changed: dict[int, Row] = {}
        self._size = 0

    def add(self, key: int, row: Row) -> None:
        if key:
            self._changed[key] = row
        else:
            self._new.append(row)
        self._size += row.size
        if len(self._new) + len(self._changed) >= BATCH_ROWS or self._size >= BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Writes them. Raises `DoesNotExist` when a row to change is gone."""
        table = self._table
        table.live().tracked_create(table.new(row) for row in self._new)
        instances = table.live().select_for_update().in_bulk(self._changed)
        if len(instances) != len(self._changed):
            raise table.live().model.DoesNotExist("A row to change is gone.")
        table.live().tracked_update(table.fill(instances[key], row) for key, row in self._changed.items())
        self._clear()
