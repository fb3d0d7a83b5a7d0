"""`manage.py restore CUSTOMER [--set ID | --at TIME] [--location NAME] [--only MODEL[:REFERENCE]] (--to FOLDER | --to-database URL)`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand
from audit.sizes import in_units
from backups import vault as vaults
from backups.choosing import At, Only, customer_called
from backups.errors import BackupError
from backups.manifest import BadManifest
from backups.reading import FoundSet, Moment
from backups.restore import Report, restore
from backups.scratch.restoring import Loaded, restore_into
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = "Restores a customer's content, or one item of it, from a backup set or as of any second, into a folder or an empty database."
    known = (BackupError, StoreError, BadManifest)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="short code, or the id when this database does not know the customer")
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--to", type=Path, metavar="FOLDER", help="a new or empty folder")
        target.add_argument(
            "--to-database",
            metavar="URL",
            help="sqlite:///path of a new file, or postgres://user@host/name of an empty database; its password in PGPASSWORD or ~/.pgpass",
        )
        source = parser.add_mutually_exclusive_group()
        source.add_argument(
            "--at",
            type=moment_of,
            metavar="TIME",
            help="the state at that moment, e.g. 2026-03-04T02:05:09+01:00; 'now' for the newest second that sets and segments cover",
        )
        source.add_argument("--set", metavar="ID", dest="set_id", help="the set's id or its beginning; the newest one when left out")
        parser.add_argument("--location", metavar="NAME", help="take everything from this location alone")
        parser.add_argument("--only", type=Only.of_text, metavar="MODEL[:REFERENCE]", help="one model, or one item, e.g. datarecord:P-17")
        parser.add_argument("--reason", default="", help="why it is restored; stands in the list of exports")

    def work(
        self,
        *,
        customer: str,
        to: Path | None,
        to_database: str | None,
        set_id: str | None,
        at: At | None,
        location: str | None,
        only: Only | None,
        reason: str,
        **options: Any,
    ) -> None:
        whose = customer_called(customer)
        vault = vaults.from_settings().only(location)
        how: dict[str, Any] = {"only": only, "set_id": set_id, "at": at, "reason": reason, "progress": self.progress()}
        with actors.acting(actors.of_shell("restore", reason)):
            if to is None:
                loaded = restore_into(vault, whose, to_database or "", **how)
                self.report(_lines_of_loaded(loaded), _document_of_loaded(loaded))
                return
            report = restore(vault, whose, to.absolute(), **how)
        self.report(_lines(report), _document(report))
        if not report.good:
            raise CommandError(
                f"The bytes of {len(report.absent)} files are in no backup, such as those of {report.absent[0]}; all else is restored."
            )


def moment_of(text: str) -> At:
    """For an option that takes a moment."""
    try:
        return At.of_text(text)
    except ValueError as problem:
        raise ArgumentTypeError(str(problem)) from None


def _head(found: FoundSet, moment: Moment | None) -> str:
    if moment is not None:
        made = f"made {moment.effective_at.isoformat()}" if moment.effective_at else "before the first"
        return f"State at {moment.at.isoformat()}: up to change {moment.number}, {made}; from set {found.id[:8]}{_segments(moment)}"
    return f"Set {found.id[:8]} for the night of {found.envelope['night']}, state at {found.envelope['snapshot_at']}"


def _segments(moment: Moment) -> str:
    return f" and segments {moment.segments[0]} to {moment.segments[1]}" if moment.segments else ""


def _set_of(found: FoundSet, moment: Moment | None) -> dict[str, Any]:
    return {
        "set": found.id,
        "night": found.envelope["night"],
        "state_at": moment.at.isoformat() if moment else found.envelope["snapshot_at"],
        "moment": moment.document() if moment else None,
    }


def _lines(report: Report) -> list[str]:
    lines = [_head(report.found, report.moment)]
    lines += [f"  {name}: {count:,}" for name, count in report.counts.items()]
    lines += [f"  files: {report.files:,} ({in_units(report.file_bytes)})"]
    return [*lines, *(f"  Note: {note}" for note in report.notes), f"Restored, every byte checked, to {report.folder}"]


def _document(report: Report) -> dict[str, Any]:
    return _set_of(report.found, report.moment) | {
        "folder": str(report.folder),
        "rows": report.counts,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "absent_files": report.absent,
        "notes": report.notes,
    }


def _lines_of_loaded(loaded: Loaded) -> list[str]:
    lines = [_head(loaded.found, loaded.moment), *(f"  {name}: {tally.rows:,}" for name, tally in loaded.tables.items())]
    if loaded.files:
        lines.append(
            f"  {loaded.files:,} files are listed, {loaded.absent:,} of them absent from the set; 'restore --to' brings their bytes"
        )
    return [*lines, *(f"  Note: {note}" for note in loaded.notes), f"Loaded, every row read back and compared, into {loaded.database}"]


def _document_of_loaded(loaded: Loaded) -> dict[str, Any]:
    return _set_of(loaded.found, loaded.moment) | {
        "database": loaded.database,
        "tables": {name: {"rows": tally.rows, "sum": tally.sum} for name, tally in loaded.tables.items()},
        "files": loaded.files,
        "absent_files": loaded.absent,
        "notes": loaded.notes,
    }
