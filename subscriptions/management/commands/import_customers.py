from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

import audit
from audit import actors
from audit.commands import BackOfficeCommand
from subscriptions.importing.customers import COLUMNS, Imported, import_customers
from subscriptions.importing.report import FileRefused, counted


class Command(BackOfficeCommand):
    help = (
        f"Adds many customers from one CSV file, all or nothing (columns: {', '.join(COLUMNS.required)}; "
        f"also {', '.join(COLUMNS.optional)}). Again adds only what is new; what is known and differs is refused with what changes it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", metavar="FILE.csv", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="check the whole file and write nothing")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the history of each customer")

    def work(self, *, file: Path, dry_run: bool, reason: str, **options: Any) -> None:
        with audit.acting(actors.of_shell("import_customers", reason)), file.open("rb") as stream:
            try:
                done = import_customers(stream, file.name, dry_run=dry_run)
            except FileRefused as refused:
                self.report(map(str, refused.refusals), {"ok": False, "refused": [str(one) for one in refused.refusals]})
                raise CommandError(f"{file.name} was refused, and nothing was written. Mend it and import again.") from refused
        self.report(_lines(done), {"ok": True, "dry_run": dry_run, "added": done.added, "known": done.known})


def _lines(done: Imported) -> list[str]:
    verb = "would be added" if done.dry_run else "added"
    return [*(f"{verb}: {code}" for code in done.added), f"{counted(len(done.added), 'customer')} {verb}, {done.known:,} known already."]
