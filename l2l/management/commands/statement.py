"""`manage.py statement CUSTOMER [--from DATE] [--to DATE] --to-file FILE`: what is kept for a customer, how, and until when (P1 to P14)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandParser

from audit import actors, clock
from audit.commands import BackOfficeCommand
from backups import vault as vaults
from backups.errors import BackupError
from l2l.reports import at_the_command_line as shared
from l2l.reports.making import Kind, make_statement
from l2l.reports.periods import Days, NoPeriod
from subscriptions.models import Customer

FORMATS = (Kind.PDF.value, Kind.CSV.value, Kind.JSON.value)


class Command(BackOfficeCommand):
    help = "Writes the data protection statement of a customer: a PDF for people, a CSV, or the signed JSON that both show."
    known = (BackupError, NoPeriod)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        shared.add_arguments(parser, FORMATS)

    def work(self, *, customer: str, to_file: Path, reason: str, **options: Any) -> None:
        chosen = Customer.objects.all().by_code(customer)
        kind = Kind(shared.format_of(to_file, options["format"], FORMATS))
        user = shared.person("statement", options["user"], options["password_file"])
        days, vault = Days(chosen.zone, options["first"], options["last"]), vaults.from_settings()
        about: dict[str, Any] = {"by": user, "signer": vault.signer, "sample": settings.L2L_SAMPLE, "software": vault.software_version}
        with actors.acting(shared.acting("statement", user, reason)):
            made = shared.made_at(to_file, lambda file: make_statement(chosen, days, kind, file, now=clock.now(), reason=reason, **about))
        self.report(shared.lines(made, to_file), shared.document(made, to_file))
