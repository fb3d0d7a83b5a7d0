"""`manage.py work [--only CLUSTER]`: the queue without the web, for production: one service a machine, or one a cluster."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from backups.queueing import DESTROYER, WORKER
from l2l import serving


class Command(BaseCommand):
    help = "Runs the queue's clusters (worker and destroyer, or one of them), watches over them, and starts again what dies or hangs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--only", choices=(WORKER, DESTROYER), metavar="CLUSTER", help="worker or destroyer; both when left out")

    def handle(self, *args: Any, only: str | None, **options: Any) -> None:
        clusters = [only] if only else [WORKER, DESTROYER]
        try:
            serving.Supervisor([serving.cluster(name) for name in clusters], self._say).run()
        except serving.DoesNotStart as problem:
            raise CommandError(str(problem)) from None

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
