"""`manage.py restore CUSTOMER [--set ID] [--location NAME] [--only MODEL[:REFERENCE]] --to FOLDER`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand
from audit.sizes import in_units
from backups import vault as vaults
from backups.errors import BackupError
from backups.manifest import BadManifest
from backups.restore import Only, Report, restore
from backups.stores.contract import StoreError
from subscriptions.models import Customer


class Command(BackOfficeCommand):
    help = "Restores a customer's content, or one item of it, from a backup set into a folder."
    known = (BackupError, StoreError, BadManifest)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="short code")
        parser.add_argument("--to", type=Path, required=True, metavar="FOLDER", help="a new or empty folder")
        parser.add_argument("--set", metavar="ID", dest="set_id", help="the set's id or its beginning; the newest one when left out")
        parser.add_argument("--location", metavar="NAME", help="take everything from this location alone")
        parser.add_argument("--only", type=Only.of_text, metavar="MODEL[:REFERENCE]", help="one model, or one item, e.g. datarecord:P-17")
        parser.add_argument("--reason", default="", help="why it is restored; stands in the list of exports")

    def work(
        self, *, customer: str, to: Path, set_id: str | None, location: str | None, only: Only | None, reason: str, **options: Any
    ) -> None:
        whose = Customer.objects.all().by_code(customer)
        vault = vaults.from_settings().only(location)
        with actors.acting(actors.of_shell("restore", reason)):
            report = restore(vault, whose, to.absolute(), only=only, set_id=set_id, reason=reason, progress=self.progress())
        self.report(_lines(report), _document(report))
        if not report.good:
            raise CommandError(
                f"{len(report.absent)} files were absent when the set was made, such as {report.absent[0]}; all else is restored."
            )


def _lines(report: Report) -> list[str]:
    envelope = report.found.envelope
    lines = [f"Set {report.found.id[:8]} for the night of {envelope['night']}, state at {envelope['snapshot_at']}"]
    lines += [f"  {name}: {count:,}" for name, count in report.counts.items()]
    lines += [f"  files: {report.files:,} ({in_units(report.file_bytes)})"]
    return [*lines, *(f"  Note: {note}" for note in report.notes), f"Restored, every byte checked, to {report.folder}"]


def _document(report: Report) -> dict[str, Any]:
    return {
        "set": report.found.id,
        "night": report.found.envelope["night"],
        "state_at": report.found.envelope["snapshot_at"],
        "folder": str(report.folder),
        "rows": report.counts,
        "files": report.files,
        "file_bytes": report.file_bytes,
        "absent_files": report.absent,
        "notes": report.notes,
    }
