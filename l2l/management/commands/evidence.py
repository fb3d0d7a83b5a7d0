"""`manage.py evidence`: a signed zip with everything that an auditor asks for about a period (P13)."""

from __future__ import annotations

import uuid
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

import audit
from audit import events
from audit.commands import BackOfficeCommand, a_day
from audit.events import Event
from audit.sizes import in_units
from backups import runs
from backups import vault as vaults
from backups.errors import BackupError
from backups.stores.contract import StoreError
from l2l.evidence import making
from l2l.evidence.making import Made


class Command(BackOfficeCommand):
    help = (
        "Makes the evidence pack of a period and reads it back with the verifier that lies in it; ends with 0 only if it was made and "
        "everything in it adds up."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--from", dest="first", required=True, type=a_day, metavar="DATE", help="first day, YYYY-MM-DD")
        parser.add_argument("--to", dest="last", required=True, type=a_day, metavar="DATE", help="last day, included")
        parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where the zip goes; nothing is overwritten")
        parser.add_argument("--seed", default="", help="the auditor's, by which the sample is drawn; default: a random one")

    def work(self, *, first: date, last: date, out: Path, seed: str, **options: Any) -> None:
        vault, ident = vaults.from_settings(), uuid.uuid4()
        now = vault.clock()
        with audit.acting("command", reason="an evidence pack", source="evidence"):
            runs.owe_nights(now)
            period, drawn = making.period_of(first, last, now), making.checked_seed(seed) or making.seed_for(ident, now)
            made = making.make(vault, period, seed=drawn, path=out.resolve(), ident=ident, tell=self.progress())
            facts = {"first": first.isoformat(), "last": last.isoformat(), "sha256": made.sha256, "bytes": made.size}
            events.record(Event.PACK_MADE, subject=f"pack:{ident}", facts={**facts, "unreconciled": len(made.unreconciled)})
        self.report(_lines(made, drawn), _document(made, drawn))
        if made.unreconciled:
            raise CommandError(f"The pack was made, and {len(made.unreconciled)} equations do not hold: {'; '.join(made.unreconciled[:5])}")


def _lines(made: Made, seed: str) -> list[str]:
    return [
        f"{made.path}: {in_units(made.size)}, SHA-256 {made.sha256}",
        f"{sum(made.rows.values()):,} rows in {len(made.rows)} lists; sample drawn with the seed {seed}; read back, every byte",
        f"To be verified with: python3 verify_evidence.py {made.path.name} --fingerprint {made.fingerprint} --questions",
        *(f"DOES NOT ADD UP: {one}" for one in made.unreconciled),
    ]


def _document(made: Made, seed: str) -> dict[str, Any]:
    return {
        "path": str(made.path),
        "bytes": made.size,
        "sha256": made.sha256,
        "seed": seed,
        "rows": made.rows,
        "unreconciled": list(made.unreconciled),
        "fingerprint": made.fingerprint,
    }
