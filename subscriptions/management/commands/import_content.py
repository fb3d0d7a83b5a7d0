from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

import audit
from audit import actors
from audit.commands import BackOfficeCommand
from subscriptions.importing import NothingToImport, import_content
from subscriptions.models import Customer


class Command(BackOfficeCommand):
    help = (
        "Imports a customer's content from a folder: records/KIND.csv (first column the reference) or KIND.ndjson "
        '({"reference": ..., "data": ...}), uploads/, links.csv (reference,title,url); a returned package has it as data/import. '
        "Importing again writes only what changed. A file with anything wrong is refused whole; then it ends with 1."
    )
    known = (NothingToImport,)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="the short code")
        parser.add_argument("folder", metavar="FOLDER", type=Path)
        parser.add_argument("--delete-missing", action="store_true", help="delete what is live and not in the folder")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the history of each change")

    def work(self, *, customer: str, folder: Path, delete_missing: bool, reason: str, **options: Any) -> None:
        with audit.acting(actors.of_shell("import_content", reason)):
            found = Customer.objects.all().by_code(customer)
            report = import_content(found, folder, delete_missing=delete_missing, progress=self.progress())
        self.report(report.lines(), report.document())
        if not report.ok:
            raise CommandError(f"Refused, and left as it was: {', '.join(report.refused_files)}. Mend it and import again.")
