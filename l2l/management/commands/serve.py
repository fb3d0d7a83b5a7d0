"""`manage.py serve`: the web pages, as `make run` starts them (gunicorn)."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from l2l import sample


class Command(BaseCommand):
    help = "Serves the back office and prints its address; with a sample home also who may sign in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--host", default="127.0.0.1")

    def handle(self, *args: Any, **options: Any) -> None:
        address = f"{options['host']}:{options['port']}"
        self.stdout.write(f"\nThe back office is at http://{address}/")
        for line in sample.sign_ins():
            self.stdout.write(line)
        self.stdout.write("Stop it with Ctrl+C.\n")
        self.stdout.flush()
        gunicorn = [
            sys.executable,
            "-m",
            "gunicorn",
            "l2l.wsgi",
            "--bind",
            address,
            "--workers",
            "2",
            "--timeout",
            "600",
            "--log-level",
            "warning",
        ]
        os.execv(sys.executable, gunicorn)  # noqa: S606  (this process becomes the server, so that signals reach it)
