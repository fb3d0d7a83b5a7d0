"""`manage.py verify_audit`: is the evidence trail what was recorded (P13)?"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from audit.commands import BackOfficeCommand
from audit.evidence import Verdict, verify_chain
from backups import keyfiles
from backups.errors import BackupError

SHOWN = 20


class Command(BackOfficeCommand):
    help = "Recomputes the evidence trail from its first event and checks its signed heads; ends with 0 only if everything fits."
    known = (BackupError,)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--fingerprint", metavar="HEX", help="the signing key to trust (recovery kit); default: this installation's")

    def work(self, *, fingerprint: str | None, **options: Any) -> None:
        trusted = fingerprint or keyfiles.signer(settings.L2L_KEYS).fingerprint
        verdict = verify_chain(trusted)
        self.report(_lines(verdict, trusted), _document(verdict, trusted))
        if verdict.problems:
            raise CommandError("The evidence trail is not what was recorded.")


def _lines(verdict: Verdict, trusted: str) -> list[str]:
    told = [
        f"{verdict.head.number:,} events, the newest with the digest {verdict.head.digest}",
        f"{verdict.heads:,} signed heads; signatures by {trusted[:16]}… vouch for the first {verdict.signed:,} events",
        *(str(problem) for problem in verdict.problems[:SHOWN]),
    ]
    hidden = len(verdict.problems) - SHOWN
    return [*told, f"and {hidden:,} more: --json lists them all"] if hidden > 0 else told


def _document(verdict: Verdict, trusted: str) -> dict[str, Any]:
    return {
        "events": verdict.head.number,
        "digest": verdict.head.digest,
        "signed_up_to": verdict.signed,
        "signed_heads": verdict.heads,
        "fingerprint": trusted,
        "whole": not verdict.problems,
        "problems": [{"number": problem.number, "what": problem.what} for problem in verdict.problems],
    }
