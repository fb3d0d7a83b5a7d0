"""`manage.py init [--sample]`: migrations, keys, recovery kit, locations; safe to run again."""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from audit.errors import AuditError
from backups.errors import BackupError
from backups.stores.contract import StoreError
from l2l import installing

TOLD_EVERY = 2.0


class Command(BaseCommand):
    help = "Sets up this installation: database, keys, recovery kit, locations. Safe to run again."
    requires_system_checks: list[str] = []
    _told_at = time.monotonic()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sample", action="store_true", help="add sample customers and people; marks the home as a sample for ever")

        parser.add_argument("--without-sets", action="store_true", help="run migrations though newest changes are in no good set")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why; kept with the schema's version")

    def handle(self, *args: Any, **options: Any) -> None:
        reason = options["reason"].strip()
        if options["without_sets"] != bool(reason):
            raise CommandError("--without-sets needs a --reason, and no other option takes one.")
        try:
            for line in installing.install(sample=options["sample"], without_sets=reason, tell=self._tell):
                self.stdout.write(line)
        except (AuditError, BackupError, StoreError, OSError, OperationalError) as problem:
            raise CommandError(str(problem)) from problem

    def _tell(self, line: str) -> None:
        """How far it is, on standard error, now and then: a large customer's set takes a while."""
        if time.monotonic() - self._told_at >= TOLD_EVERY:
            self._told_at = time.monotonic()
            self.stderr.write(line, style_func=str)
