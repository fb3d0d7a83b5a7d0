from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

import audit
from audit import actors, clock
from audit.commands import BackOfficeCommand
from subscriptions.importing.report import FileRefused, counted
from subscriptions.models import Reconciliation
from subscriptions.reconciling import COLUMNS, MEANINGS, differences, differing, reconcile


class Command(BackOfficeCommand):
    help = (
        f"Compares our customers with billing's list, a CSV file (column {COLUMNS.required[0]}; also {', '.join(COLUMNS.optional)}). "
        "The comparison is kept as evidence. Ends with 1 when they differ."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", metavar="FILE.csv", type=Path)

    def work(self, *, file: Path, **options: Any) -> None:
        with audit.acting(actors.of_shell("reconcile_customers")), file.open("rb") as stream:
            try:
                kept = reconcile(stream, file.name, now=clock.now())
            except FileRefused as refused:
                self.report(map(str, refused.refusals), {"ok": False, "refused": [str(one) for one in refused.refusals]})
                raise CommandError(f"{file.name} was refused, and nothing was compared. Mend it and try again.") from refused
        self.report(_lines(kept), _document(kept))
        if kept.differences:
            raise CommandError(f"Billing and we differ: {counted(differing(kept), 'difference')}. A finding stays open until they do not.")


def _lines(kept: Reconciliation) -> Iterator[str]:
    yield f"{kept.billed:,} billed, {kept.ours:,} with a subscription that runs here, {kept.matched:,} in both."
    for kind, named in differences(kept):
        meaning, advice = MEANINGS[kind]
        yield f"{len(named):,} {meaning}. {advice}"
        yield from (f"  {' '.join(names)}" for names in named)


def _document(kept: Reconciliation) -> dict[str, Any]:
    return {
        "ok": not kept.differences,
        "reconciliation": kept.pk,
        "at": kept.at.isoformat(),
        "sha256": kept.source_sha256,
        "billed": kept.billed,
        "ours": kept.ours,
        "matched": kept.matched,
        "differences": kept.differences,
    }
