"""A report leaves: a file that only its user can read, an `Export` row and an event, in one transaction (P5; design section 8).

The file is whole before anything is recorded, and is let go inside of that transaction: nothing leaves unrecorded. When content of the
customer was purged while the report was written, the report is thrown away.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from django.db import transaction

from audit import actors, events
from audit.durability import flush
from audit.errors import AuditError
from audit.events import Event
from audit.signing import Signer
from backups.exports import EXPORT_KEPT, purges_of, refuse_purged_since
from l2l.reports import statement_csv, statement_pdf, trail_csv, trail_pdf
from l2l.reports.allowed import check_sees
from l2l.reports.periods import Days
from l2l.reports.statement import signed, statement_of
from l2l.reports.trail import Change, Trail
from subscriptions.models import Customer, Export

# Where a file went that was handed to a browser: no path of this machine.
DOWNLOADED = "downloaded"


class Kind(StrEnum):
    """How a report is written."""

    CSV = "csv"
    PDF = "pdf"
    JSON = "json"


class NotWritten(AuditError):
    """The file cannot be made where it was asked for."""


@dataclass(frozen=True, slots=True)
class Written:
    sha256: str
    size: int


def write(file: IO[bytes], pieces: Iterable[bytes]) -> Written:
    """A piece at a time, whatever it comes to."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        file.write(piece)
        digest.update(piece)
        size += len(piece)
    file.flush()
    return Written(digest.hexdigest(), size)


@dataclass(frozen=True, slots=True)
class Made:
    """A report that is written and has not left yet. `event`, `facts`, `what` and `reason` are what the rows will say of it; `purges` those
    that there were before anything was read."""

    customer: Customer
    written: Written
    filename: str
    event: Event
    facts: Mapping[str, Any]
    what: str
    reason: str
    purges: int
    changes: int = 0

    def hand_over(self, path: str, now: datetime, release: Callable[[], None], *, kept: bool) -> Export:
        """Records it and calls `release`, which lets the file go. `kept`: it lies at that path of this machine; else only the person has
        it. Raises `PurgedMeanwhile`."""
        with transaction.atomic():
            refuse_purged_since(self.purges, self.customer.pk)
            export = Export.objects.create(
                customer=self.customer,
                what=self.what[:200],
                by=actors.current().name,
                reason=self.reason,
                path=path,
                sha256=self.written.sha256,
                made_at=now,
                expires_at=now + EXPORT_KEPT if kept else now,
                removed_at=None if kept else now,
            )
            events.record(self.event, subject=export, customer=self.customer.pk, facts=self.facts)
            release()
        return export


def make_trail(
    trail: Trail, kind: Kind, file: IO[bytes], *, reason: str, sample: bool, tell: Callable[[str], None] = lambda _: None
) -> Made:
    """Writes the audit trail into the file, as CSV or PDF. Raises `TooLong` where paper does not take it."""
    before, changes = purges_of(trail.customer.pk), 0

    def told(_: Change) -> None:
        nonlocal changes
        changes += 1
        tell(f"{changes:,} changes")

    written = write(file, [trail_pdf.printed(trail, sample=sample, told=told)] if kind == Kind.PDF else trail_csv.pieces(trail, told))
    days = trail.days
    facts = {"kind": f"audit-trail-{kind}", "first": _day(days.first), "last": _day(days.last), "sha256": written.sha256, "rows": changes}
    return Made(
        customer=trail.customer,
        written=written,
        filename=_called("audit-trail", trail.customer, days, kind),
        event=Event.REPORT_MADE,
        facts=facts,
        what=f"audit trail report, {days.words}, {kind}: {_of_what(trail)}",
        reason=reason,
        purges=before,
        changes=changes,
    )


def _of_what(trail: Trail) -> str:
    """Without the item's name, which is the customer's."""
    if trail.item is not None:
        return f"one {trail.item.protected.model._meta.verbose_name}"
    return f"all {trail.words}"


def make_statement(
    customer: Customer,
    days: Days,
    kind: Kind,
    file: IO[bytes],
    *,
    by: Any,
    signer: Signer,
    now: datetime,
    reason: str,
    sample: bool,
    software: str = "",
) -> Made:
    """Writes the customer statement into the file. `by` is who takes it, None whoever is at the shell. Raises `NotYours`."""
    if by is not None:
        check_sees(by, customer)
    before = purges_of(customer.pk)
    statement = signed(statement_of(customer, days, now=now), signer, sample=sample, software=software)
    pieces: dict[Kind, Callable[[], Iterable[bytes]]] = {
        Kind.PDF: lambda: [statement_pdf.printed(statement)],
        Kind.CSV: lambda: statement_csv.pieces(statement),
        Kind.JSON: lambda: [statement.text.encode()],
    }
    written = write(file, pieces[kind]())
    return Made(
        customer=customer,
        written=written,
        filename=_called("statement", customer, days, kind),
        event=Event.STATEMENT_MADE,
        facts={"kind": kind.value, "sha256": written.sha256},
        what=f"customer statement, {days.words}, {kind}",
        reason=reason,
        purges=before,
    )


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _called(what: str, customer: Customer, days: Days, kind: Kind) -> str:
    return "-".join([what, customer.code, *(_day(day) or "" for day in (days.first, days.last) if day)]) + f".{kind}"


@contextmanager
def new_file(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file that gets its name only when the second of the two is called, and never over another one; mode 0600. Raises `NotWritten`."""
    if path.exists():
        raise NotWritten(f"{path} is there already: name a new file.")
    if not path.parent.is_dir():
        raise NotWritten(f"There is no folder {path.parent}: make it first.")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    released: list[Path] = []
    descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        with os.fdopen(descriptor, "w+b") as file:

            def release() -> None:
                file.flush()
                os.fsync(file.fileno())
                try:
                    os.link(partial, path)
                except FileExistsError:
                    raise NotWritten(f"{path} was made by somebody else meanwhile: name a new file.") from None
                flush(path.parent)
                released.append(path)

            yield file, release
    except BaseException:
        for one in released:  # what let it go was rolled back
            one.unlink(missing_ok=True)
        raise
    finally:
        partial.unlink(missing_ok=True)
