"""`manage.py work [--only ONE]`: the queue and the hot shipper without the web, for production: one service a machine, or one for each."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backups.queueing import DESTROYER, WORKER
from l2l import serving
from l2l.serving import SHIPPER


class Command(BaseCommand):
    help = "Runs the queue's clusters and the hot shipper, or one of them, watches over them, and starts again what dies or hangs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", choices=(WORKER, DESTROYER, SHIPPER), metavar="ONE", help="one of these alone")

    def handle(self, *args: Any, only: str | None, **options: Any) -> None:
        try:
            serving.Supervisor(serving.of_queue(only), self._say).run()
        except serving.DoesNotStart as problem:
            raise CommandError(str(problem)) from None

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
