"""`manage.py init [--sample]`: migrations, keys, recovery kit, locations; safe to run again."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from backups.errors import BackupError
from backups.stores.contract import StoreError
from l2l import installing


class Command(BaseCommand):
    help = "Sets up this installation: database, keys, recovery kit, locations. Safe to run again."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sample", action="store_true", help="add sample customers and people; marks the home as a sample for ever")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            for line in installing.install(sample=options["sample"]):
                self.stdout.write(line)
        except (BackupError, StoreError, OSError, OperationalError) as problem:
            raise CommandError(str(problem)) from problem
