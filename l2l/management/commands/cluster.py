"""`manage.py cluster NAME`: one cluster of the queue, as the supervisor starts it. By hand use `manage.py work`, which watches over it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from backups.queueing import DESTROYER, WORKER
from l2l import serving


class Command(BaseCommand):
    help = "Runs one cluster of the queue without a supervisor; 'manage.py work' is what you want."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", choices=(WORKER, DESTROYER))

    def handle(self, *args: Any, name: str, **options: Any) -> None:
        serving.run_cluster(name)
