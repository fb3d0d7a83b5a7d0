"""`manage.py demo`: a customer's data imported, backed up, lost and restored, in a scratch home of its own (`make demo`)."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from l2l.demo import Demo, DemoFailed


class Command(BaseCommand):
    help = (
        "Runs the whole way from import to restore, unattended, in a scratch home; ends with 0 only if what comes back equals what went in."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--content", type=Path, metavar="FOLDER", help="an importable folder of your own; it is copied, never changed")
        parser.add_argument("--keep", action="store_true", help="leave the scratch home behind and say where")

    def handle(self, *args: Any, content: Path | None, keep: bool, **options: Any) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="l2l-demo-"))
        try:
            Demo(scratch, self.stdout.write, content).run()
        except DemoFailed as problem:
            raise CommandError(f"The demo failed: {problem}") from problem
        finally:
            if keep:
                self.stdout.write(f"Kept: {scratch}")
            else:
                shutil.rmtree(scratch)
