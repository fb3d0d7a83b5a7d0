"""What every command shares: `--json`, one report at the end, known errors as a clear message and an exit status that is not 0."""

from __future__ import annotations

import json
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, OperationalError

from audit import events
from audit.errors import AuditError


class BackOfficeCommand(BaseCommand):
    """Subclasses write `work(**options)`, which ends with `self.report(...)`; `known` lists further exceptions that speak to the user."""

    known: tuple[type[Exception], ...] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output, nothing else there")

    def handle(self, *args: Any, **options: Any) -> None:
        self._json, self._reported = options.pop("json", False), False
        try:
            self._work(**options)
        except CommandError as problem:
            if self._json and not self._reported:
                self.report([], {"error": str(problem)})
            raise

    def _work(self, **options: Any) -> None:
        spoken: tuple[type[Exception], ...] = (AuditError, ObjectDoesNotExist, OSError, *self.known)
        try:
            with events.apart():
                self.work(**options)
        except ValidationError as problem:
            raise CommandError("; ".join(_validation_lines(problem))) from problem
        except (IntegrityError, OperationalError) as problem:
            raise CommandError(f"The database refused: {problem}. If it was never set up, 'manage.py init' does that.") from problem
        except spoken as problem:
            raise CommandError(str(problem)) from problem

    def work(self, *args: Any, **options: Any) -> None:
        raise NotImplementedError

    def report(self, lines: Iterable[str], document: Any) -> None:
        """The result: lines for people, or the document for programs. A command that raises `CommandError` after it keeps its document."""
        self._reported = True
        if self._json:
            self.stdout.write(json.dumps(document, ensure_ascii=False, default=str))
        else:
            for line in lines:
                self.stdout.write(line)

    def progress(self, every: float = 2.0) -> Callable[[str], None]:
        """A function that tells on standard error how far the work is, at most once in `every` seconds."""
        told_at = time.monotonic()

        def tell(line: str) -> None:
            nonlocal told_at
            if time.monotonic() - told_at >= every:
                told_at = time.monotonic()
                self.stderr.write(line, style_func=str)  # in no colour of an error

        return tell


def _validation_lines(problem: ValidationError) -> list[str]:
    if hasattr(problem, "message_dict"):
        return [f"{field}: {' '.join(messages)}" for field, messages in problem.message_dict.items()]
    return list(problem.messages)


def read_password(path: Path) -> str:
    """The first line of a file that nobody else can read; `CommandError` for any other."""
    if path.stat().st_mode & 0o077:
        raise CommandError(f"{path} can be read by others. Make it yours alone: chmod 600 {path}")
    lines = path.read_text().splitlines()
    if not lines or not lines[0]:
        raise CommandError(f"{path} is empty: its first line is the password.")
    return lines[0]


def a_day(text: str) -> date:
    """The type of an argument that is a date; what is none is refused in words that say how it is written."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a date such as 2026-11-23") from None
