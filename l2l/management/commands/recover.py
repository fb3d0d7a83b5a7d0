"""`manage.py recover LOCATION --kit FILE`: the whole service on an empty database, from one location and the recovery kit."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit.commands import BackOfficeCommand
from audit.moments import in_utc_to_the_second, length
from backups.errors import BackupError
from backups.manifest import BadManifest
from backups.models import RecoveredStream
from backups.recovery.carrying_out import Report
from backups.stores.contract import StoreError
from l2l import installing


class Command(BackOfficeCommand):
    help = "Brings the whole service back on an empty database, from one location and the recovery kit. Run it again, and it goes on."
    known = (BackupError, BadManifest, StoreError)
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("location", help="a name from L2L_LOCATIONS: read first; others that answer give what it lacks")
        parser.add_argument("--kit", type=Path, required=True, metavar="FILE", help="the recovery kit's text, in a file")
        parser.add_argument("--sample", action="store_true", help="the location is a sample's: marks this empty home as one, for ever")
        parser.add_argument(
            "--accept",
            nargs="+",
            default=[],
            metavar="CUSTOMER",
            help="take an older or incomplete state of these, where nothing else is left",
        )

    def work(self, *, location: str, kit: Path, sample: bool, accept: list[str], **options: Any) -> None:
        report = installing.recover(location, kit, sample=sample, accept=accept, tell=self.progress())
        self.report(_lines(report), _document(report))
        if not report.whole:
            raise CommandError("Not all is back: " + "; ".join(_troubles(report)))


def _lines(report: Report) -> list[str]:
    back = [one for one in report.streams if one.state == RecoveredStream.State.BACK]
    lines = [f"Recovered from {report.recovery.location} in {length(timedelta(seconds=report.seconds))}: {len(back) - 1} customers."]
    for one in report.streams:
        lines.append(f"  {report.names[one.pk]}: {_line(one)}")
        lines += [f"    {sentence}" for sentence in (*one.lost, *one.notes)]
    lines += report.notes
    if not report.stopped:
        lines.append(f"Changes are shipped on from segment {report.segment + 1}.")
    lines.append("Nobody has a password yet: 'manage.py changepassword NAME' sets one (docs/runbooks.md, The machine is lost).")
    return lines


def _line(one: RecoveredStream) -> str:
    if one.state == RecoveredStream.State.ENDED:
        return "destroyed before; it stays so"
    if one.state == RecoveredStream.State.NOT_BACK:
        return f"NOT BACK, and frozen: {one.trouble}"
    until = in_utc_to_the_second(one.until) if one.until else "its beginning"
    return f"back as of {until}: {one.rows:,} rows, {one.history_rows:,} versions, {one.files:,} files, change {one.number:,}"


def _troubles(report: Report) -> list[str]:
    names = [report.names[one.pk] for one in report.streams if one.state == RecoveredStream.State.NOT_BACK]
    found = (
        [f"{', '.join(names)} could not be brought back; mend what the report names, or take what is left with --accept"] if names else []
    )
    lossy = [report.names[one.pk] for one in report.streams if one.lost]
    found += [f"something of {', '.join(lossy)} is lost, as the report says"] if lossy else []
    if report.stopped:
        found.append(
            f"{report.stopped}: content is read-only. Bring back the location that has them and recover anew; or give them up with "
            "'manage.py hotbackup --new-timeline'"
        )
    if report.unknown:
        found.append(f"the locations hold {len(report.unknown)} customers of which the system stream does not know ({report.unknown[0]})")
    return found


def _document(report: Report) -> dict[str, Any]:
    return {
        "location": report.recovery.location,
        "seconds": round(report.seconds, 1),
        "attempts": report.recovery.attempts,
        "started_at": report.recovery.started_at.isoformat(),
        "released_at": report.recovery.released_at.isoformat() if report.recovery.released_at else None,
        "stopped": report.stopped,
        "next_segment": None if report.stopped else report.segment + 1,
        "whole": report.whole,
        "unknown": list(report.unknown),
        "notes": list(report.notes),
        "streams": [
            {
                "id": str(one.pk),
                "name": report.names[one.pk],
                "state": one.state,
                "until": one.until.isoformat() if one.until else None,
                "number": one.number,
                "set": str(one.set_id) if one.set_id else None,
                "rows": one.rows,
                "history": one.history_rows,
                "files": one.files,
                "behind": one.behind,
                "lost": one.lost,
                "notes": one.notes,
                "trouble": one.trouble,
            }
            for one in report.streams
        ],
    }
