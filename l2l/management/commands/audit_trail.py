"""`manage.py audit_trail CUSTOMER [--model MODEL [--item NAME]] [--from DATE] [--to DATE] --to-file FILE`: each change, to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from audit import actors, clock
from audit.commands import BackOfficeCommand
from backups.errors import BackupError
from l2l.reports import at_the_command_line as shared
from l2l.reports.making import Kind, make_trail
from l2l.reports.periods import Days, NoPeriod
from l2l.reports.trail import trail_of
from subscriptions.models import Customer

FORMATS = (Kind.CSV.value, Kind.PDF.value)


class Command(BackOfficeCommand):
    help = (
        "Writes the audit trail of a customer's content, or of one item, into a CSV of any length or a PDF: who, when, why, old and new "
        "values, and where the proof stands."
    )
    known = (BackupError, NoPeriod)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        shared.add_arguments(parser, FORMATS)
        parser.add_argument("--model", default="", metavar="MODEL", help="one kind of item, e.g. datarecord")
        parser.add_argument("--item", default="", metavar="NAME", help="one item of it, by what it is or ever was called, or by its key")

    def work(self, *, customer: str, to_file: Path, reason: str, **options: Any) -> None:
        chosen = Customer.objects.all().by_code(customer)
        kind = Kind(shared.format_of(to_file, options["format"], FORMATS))
        user = shared.person("audit_trail", options["user"], options["password_file"])
        trail = trail_of(
            chosen,
            Days(chosen.zone, options["first"], options["last"]),
            by=user,
            now=clock.now(),
            model=options["model"],
            item=options["item"],
        )
        tell = self.progress()
        with actors.acting(shared.acting("audit_trail", user, reason)):
            made = shared.made_at(to_file, lambda file: make_trail(trail, kind, file, reason=reason, sample=settings.L2L_SAMPLE, tell=tell))
        left_out = [f"  Left out, for you may not see them: {', '.join(trail.left_out)}"] if trail.left_out else []
        lines = [*shared.lines(made, to_file), *left_out, f"{made.changes:,} changes"]
        self.report(lines, {**shared.document(made, to_file), "changes": made.changes, "left_out": list(trail.left_out)})
