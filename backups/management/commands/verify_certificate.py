"""`manage.py verify_certificate FILE (--kit FILE | --fingerprint HEX) [--pdf FILE]`: is it what was issued, and what does it say (P12)?"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit.commands import BackOfficeCommand
from audit.sizes import in_units
from backups.destroy import checking
from backups.destroy.checking import Genuine, NotGenuine
from backups.errors import BackupError
from backups.recovery_kit import read_kit


class Command(BackOfficeCommand):
    help = "Checks a certificate of destruction (its JSON file) without database and network; ends with 0 only if it is what was issued."
    known = (BackupError,)
    requires_system_checks: list[str] = []  # of an installation, which need not be here

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path, metavar="FILE", help="the JSON file, as it was handed out")
        trusted = parser.add_mutually_exclusive_group(required=True)
        trusted.add_argument("--kit", type=Path, metavar="FILE", help="the recovery kit, which has the fingerprint to trust")
        trusted.add_argument("--fingerprint", metavar="HEX", help="the signing key's fingerprint, from the kit: 64 hexadecimal digits")
        parser.add_argument("--pdf", type=Path, metavar="FILE", help="the PDF too: does it show this document?")

    def work(self, *, file: Path, kit: Path | None, fingerprint: str | None, pdf: Path | None, **options: Any) -> None:
        trusted = read_kit(kit).fingerprint if kit else _fingerprint(fingerprint or "")
        try:
            genuine = checking.check(file.read_bytes(), trusted)
            if pdf is not None:
                _check_pdf(pdf, genuine)
        except NotGenuine as problem:
            raise CommandError(f"{file.name} is not genuine: {problem}") from None
        self.report(_lines(genuine, trusted, pdf), _document(genuine, trusted))


def _fingerprint(text: str) -> str:
    found = "".join(text.split()).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise CommandError("A fingerprint has 64 hexadecimal digits. Copy it from the recovery kit.")
    return found


def _check_pdf(pdf: Path, genuine: Genuine) -> None:
    from backups.destroy.certificate_pdf import rendered

    if pdf.read_bytes() != rendered(genuine.document, genuine.sha256):
        raise NotGenuine(f"{pdf.name} is not the PDF that this software makes of it: altered, or made by another version. The JSON counts.")


def _lines(genuine: Genuine, trusted: str, pdf: Path | None) -> list[str]:
    said = genuine.document
    return [
        f"Genuine: {said['title']}, no. {said['number']}, signed by {trusted[:16]}…",
        f"SHA-256 {genuine.sha256}",
        *(["SAMPLE: of an installation that holds no real data."] if said["sample"] else []),
        *([f"{pdf.name} shows exactly this document."] if pdf else []),
        f"Customer {said['customer']['name']} ({said['customer']['code']}, {said['customer']['id']}), issued {said['issued_at']}",
        *said["statement"],
        *(f"{one['location']}: {one['copies']:,} copies, {in_units(one['bytes'])}: {one['result']}" for one in said["locations"]),
        *(f"Still to do: {one}" for one in said["still_to_do"]),
        *(f"May lie for a while: {one['where']}: {one['until']}" for one in said["remains"]),
    ]


def _document(genuine: Genuine, trusted: str) -> dict[str, Any]:
    said = genuine.document
    return {
        "genuine": True,
        "kind": said["kind"],
        "sample": said["sample"],
        "number": said["number"],
        "customer": said["customer"],
        "issued_at": said["issued_at"],
        "sha256": genuine.sha256,
        "fingerprint": trusted,
        "still_to_do": said["still_to_do"],
    }
