"""`manage.py serve`: the web pages, the queue and the hot shipper, as `make run` starts them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from l2l import sample, serving


class Command(BaseCommand):
    help = "Serves the back office, runs its queue and the hot shipper; prints the address, and with a sample home who may sign in."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--web-only", action="store_true", help="'manage.py work' runs queue and shipper elsewhere")

    def handle(self, *args: Any, host: str, port: int, web_only: bool, **options: Any) -> None:
        try:
            serving.refuse_taken(host, port)
            supervisor = serving.Supervisor([serving.web(host, port), *([] if web_only else serving.of_queue())], self._say)
            self._say(f"\nThe back office is at http://{host}:{port}/")
            for line in [*sample.sign_ins(), "Stop it with Ctrl+C.\n"]:
                self._say(line)
            supervisor.run()
        except serving.DoesNotStart as problem:
            raise CommandError(str(problem)) from None

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
