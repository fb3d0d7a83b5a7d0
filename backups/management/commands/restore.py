"""`manage.py restore CUSTOMER [--set ID] [--location NAME] [--only MODEL[:REFERENCE]] (--to FOLDER | --to-database URL)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand
from audit.sizes import in_units
from backups import vault as vaults
from backups.choosing import Only, customer_called
from backups.errors import BackupError
from backups.manifest import BadManifest
from backups.reading import FoundSet
from backups.restore import Report, restore
from backups.scratch.restoring import Loaded, restore_into
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = "Restores a customer's content, or one item of it, from a backup set into a folder or an empty database."
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
        parser.add_argument("--set", metavar="ID", dest="set_id", help="the set's id or its beginning; the newest one when left out")
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
        location: str | None,
        only: Only | None,
        reason: str,
        **options: Any,
    ) -> None:
        whose = customer_called(customer)
        vault = vaults.from_settings().only(location)
        how: dict[str, Any] = {"only": only, "set_id": set_id, "reason": reason, "progress": self.progress()}
        with actors.acting(actors.of_shell("restore", reason)):
            if to is None:
                loaded = restore_into(vault, whose, to_database or "", **how)
                self.report(_lines_of_loaded(loaded), _document_of_loaded(loaded))
                return
            report = restore(vault, whose, to.absolute(), **how)
        self.report(_lines(report), _document(report))
        if not report.good:
            raise CommandError(
                f"{len(report.absent)} files were absent when the set was made, such as {report.absent[0]}; all else is restored."
            )


def _head(found: FoundSet) -> str:
    return f"Set {found.id[:8]} for the night of {found.envelope['night']}, state at {found.envelope['snapshot_at']}"


def _set_of(found: FoundSet) -> dict[str, Any]:
    return {"set": found.id, "night": found.envelope["night"], "state_at": found.envelope["snapshot_at"]}


def _lines(report: Report) -> list[str]:
    lines = [_head(report.found)]
    lines += [f"  {name}: {count:,}" for name, count in report.counts.items()]
    lines += [f"  files: {report.files:,} ({in_units(report.file_bytes)})"]
    return [*lines, *(f"  Note: {note}" for note in report.notes), f"Restored, every byte checked, to {report.folder}"]


def _document(report: Report) -> dict[str, Any]:
    return _set_of(report.found) | {
        "folder": str(report.folder),
        "rows": report.counts,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "absent_files": report.absent,
        "notes": report.notes,
    }


def _lines_of_loaded(loaded: Loaded) -> list[str]:
    lines = [_head(loaded.found), *(f"  {name}: {tally.rows:,}" for name, tally in loaded.tables.items())]
    if loaded.files:
        lines.append(
            f"  {loaded.files:,} files are listed, {loaded.absent:,} of them absent from the set; 'restore --to' brings their bytes"
        )
    return [*lines, *(f"  Note: {note}" for note in loaded.notes), f"Loaded, every row read back and compared, into {loaded.database}"]


def _document_of_loaded(loaded: Loaded) -> dict[str, Any]:
    return _set_of(loaded.found) | {
        "database": loaded.database,
        "tables": {name: {"rows": tally.rows, "sum": tally.sum} for name, tally in loaded.tables.items()},
        "files": loaded.files,
        "absent_files": loaded.absent,
        "notes": loaded.notes,
    }
