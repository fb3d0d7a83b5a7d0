"""`manage.py verify_statement FILE (--kit FILE | --fingerprint HEX) [--pdf FILE]`: is this customer statement what was made?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import canonical
from audit.commands import BackOfficeCommand
from audit.signing import BadSignature, verify
from backups.destroy.checking import sha256_of, text_of
from backups.errors import BackupError
from backups.recovery_kit import read_kit
from l2l.reports.statement import FORMAT, Signed
from l2l.reports.statement_pdf import printed


class Command(BackOfficeCommand):
    help = "Checks a customer statement (its JSON file) without database and network; ends with 0 only if it is what was made."
    known = (BackupError,)
    requires_system_checks: list[str] = []  # of an installation, which need not be here

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, metavar="FILE", help="the JSON file, as it was handed out")
        trusted = parser.add_mutually_exclusive_group(required=True)
        trusted.add_argument("--kit", type=Path, metavar="FILE", help="the recovery kit, which has the fingerprint to trust")
        trusted.add_argument("--fingerprint", metavar="HEX", help="the signing key's fingerprint: 64 hexadecimal digits")
        parser.add_argument("--pdf", type=Path, metavar="FILE", help="the PDF too: does it show this document?")

    def work(self, *, file: Path, kit: Path | None, fingerprint: str | None, pdf: Path | None, **options: Any) -> None:
        trusted = read_kit(kit).fingerprint if kit else "".join((fingerprint or "").split()).lower()
        statement = _genuine(file, trusted)
        if pdf is not None and pdf.read_bytes() != printed(statement):
            raise CommandError(f"{pdf.name} is not the PDF of this statement: altered, or made by another version. The JSON counts.")
        said = statement.document
        lines = [f"Genuine: {said['title']}, {said['period']['words']}", f"SHA-256 {statement.sha256}, signed by {trusted[:16]}…"]
        lines += ["SAMPLE: of an installation that holds no real data."] if said["sample"] else []
        lines += [f"{pdf.name} shows exactly this document."] if pdf else []
        self.report(lines, {"genuine": True, "sha256": statement.sha256, "signed_by": trusted, "statement": dict(said)})


def _genuine(file: Path, trusted: str) -> Signed:
    data = file.read_bytes()
    try:
        document = json.loads(data)
        said = verify(document, trusted)
        if said.get("format") != FORMAT or text_of(document).encode() != data:
            raise BadSignature("its bytes are not those that were made, or it is no statement")
    except (BadSignature, ValueError, canonical.NotCanonical) as problem:
        raise CommandError(f"{file.name} is not genuine: {problem}") from None
    return Signed(document, data.decode(), sha256_of(data.decode()))
