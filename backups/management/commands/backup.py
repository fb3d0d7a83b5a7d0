"""`manage.py backup [CUSTOMER ...] [--night DATE]`: full sets now, all customers when none is named."""

from __future__ import annotations

import logging
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand, a_day
from audit.errors import AuditError
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from audit.sizes import in_units
from backups import vault as vaults
from backups.errors import BackupError
from backups.models import BackupSet
from backups.nightly import Outcome, back_up
from backups.recovery.state import ended
from backups.stores.contract import StoreError
from backups.verdicts import WHAT_TO_DO
from subscriptions.ending import standing
from subscriptions.models import Customer

logger = logging.getLogger(__name__)


class Command(BackOfficeCommand):
    help = "Makes a full backup set of each named customer now, or of every customer and the system stream."
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customers", nargs="*", metavar="CUSTOMER", help="short code; all when none is named")
        parser.add_argument("--night", type=a_day, metavar="DATE", help="the night that the sets are for, e.g. 2026-11-23")

    def work(self, *, customers: list[str], night: date | None, **options: Any) -> None:
        streams = _streams(customers)
        vault = vaults.from_settings()
        outcomes, failures = [], {}
        with actors.acting(actors.of_shell("backup")):
            for stream in streams:
                try:
                    outcomes.append(back_up(vault, stream, night=night, progress=self.progress()))
                except Exception as problem:  # noqa: BLE001  (one customer's failure is counted and never stops the others)
                    failures[stream.name] = self._told(stream, problem)
        self.report(_lines(outcomes, failures), [_document(one) for one in outcomes] + _failed(failures))
        if failures or not all(outcome.good for outcome in outcomes):
            raise CommandError(_what_is_wrong(outcomes, failures))

    def _told(self, stream: Stream, problem: Exception) -> str:
        """The message, if the exception speaks to the user; else it is logged with all that programmers need."""
        if isinstance(problem, (AuditError, OSError, *self.known)):
            return str(problem)
        logger.error("The backup of %s failed", stream.name, exc_info=problem)
        return f"{type(problem).__name__}: {problem}"


def _streams(codes: list[str]) -> list[Stream]:
    if not codes:
        return list(Stream.objects.exclude(pk__in=ended() | standing.ended()).order_by("name"))
    return [Stream.objects.get(pk=SYSTEM_STREAM if code == "system" else Customer.objects.all().by_code(code).pk) for code in codes]


def _lines(outcomes: list[Outcome], failures: dict[str, str]) -> list[str]:
    lines = []
    for outcome in outcomes:
        one = outcome.backup_set
        took = (one.ended_at - one.started_at).total_seconds() if one.ended_at else 0.0
        lines.append(
            f"{one.stream.name}: set {str(one.id)[:8]} for the night of {one.night}: {one.rows:,} rows, {one.history_rows:,} history rows, "
            f"{one.files:,} files, {in_units(one.content_bytes)}; new {one.new_blobs} blobs ({in_units(one.new_bytes)}), "
            f"reused {one.reused_blobs}; whole at {', '.join(outcome.whole_at)}; {took:.1f} s"
        )
        lines += [f"  caught up: {outcome.caught_up} copies" for _ in [1] if outcome.caught_up]
        lines += [f"  {note}" for note in outcome.notes]
        lines += [f"  {name}: {why}" for name, why in outcome.troubles.items()]
        lines += [f"  proof BROKEN: {line}" for line in one.proof_text.splitlines()]
    if outcomes:
        owed = outcomes[-1].owed
        lines += [f"Owed to {name}: {count:,} copies, {in_units(size)}" for name, (count, size) in owed.items() if count]
    return lines + [f"{name}: FAILED: {why}" for name, why in failures.items()]


def _document(outcome: Outcome) -> dict[str, Any]:
    one = outcome.backup_set
    return {
        "customer": one.stream.name,
        "set": str(one.id),
        "night": one.night.isoformat(),
        "complete": one.complete_at is not None,
        "protected": one.protected_at is not None,
        "whole_at": outcome.whole_at,
        "rows": one.rows,
        "history_rows": one.history_rows,
        "files": one.files,
        "absent_files": one.absent_files,
        "content_bytes": one.content_bytes,
        "new_blobs": one.new_blobs,
        "new_bytes": one.new_bytes,
        "reused_blobs": one.reused_blobs,
        "proof": one.proof,
        "proof_text": one.proof_text,
        "caught_up": outcome.caught_up,
        "owed": {name: {"copies": count, "bytes": size} for name, (count, size) in outcome.owed.items()},
        "troubles": outcome.troubles,
        "notes": outcome.notes,
    }


def _failed(failures: dict[str, str]) -> list[dict[str, Any]]:
    return [{"customer": name, "failed": why} for name, why in failures.items()]


def _what_is_wrong(outcomes: list[Outcome], failures: dict[str, str]) -> str:
    unprotected = [one.backup_set.stream.name for one in outcomes if one.backup_set.protected_at is None]
    absent = [one.backup_set.stream.name for one in outcomes if one.backup_set.absent_files]
    parts = [f"{len(failures)} failed ({', '.join(failures)})"] if failures else []
    if unprotected:
        parts.append(f"{len(unprotected)} not yet at every required location ({', '.join(unprotected[:5])}); the next backup catches up")
    if absent:
        parts.append(f"{len(absent)} with files that the upload storage no longer has ({', '.join(absent[:5])}); look for them there")
    broken = [one.backup_set.stream.name for one in outcomes if one.backup_set.proof == BackupSet.Proof.BROKEN]
    if broken:
        parts.append(f"{len(broken)} whose rows are not what history says ({', '.join(broken[:5])}). {WHAT_TO_DO}")
    return "Not all is as promised: " + "; ".join(parts)
