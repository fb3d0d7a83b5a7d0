"""`manage.py hotbackup`: the shipper; `--once` ships what waits and ends; `--new-timeline` after the database went back in time."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from audit import actors
from audit.commands import BackOfficeCommand, read_password
from audit.moments import length
from audit.people import at_the_command_line
from backups import vault as vaults
from backups.errors import BackupError
from backups.hot import figures, sessions, shipper, timelines
from backups.hot.lanes import WentBack
from backups.hot.standing import Figures, Place, Standing, State, judged
from backups.stores.contract import StoreError

PATIENCE = 3600.0


class Command(BackOfficeCommand):
    help = "Ships every committed change to all locations, within the second, until it is stopped. A second one stands by."
    known = (BackupError, StoreError, WentBack)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--once", action="store_true", help="ship what waits, at every location that answers, and end")
        what.add_argument(
            "--status",
            action="store_true",
            help="what would be lost now, and how far behind each location is; ends with 0 when all is kept",
        )
        what.add_argument(
            "--new-timeline", action="store_true", help="give up what the database lacks after it went back in time, and ship again"
        )
        parser.add_argument("--as", dest="person", metavar="USER", help="who starts the new timeline; needs the right to operate runs")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="a file with that person's password")
        parser.add_argument("--reason", default="", help="why a new timeline is started")

    def work(
        self,
        *,
        once: bool,
        status: bool,
        new_timeline: bool,
        person: str | None,
        password_file: Path | None,
        reason: str,
        **options: Any,
    ) -> None:
        if status:
            self._status()
            return
        sessions.keep_short()
        if new_timeline:
            self._new_timeline(person, password_file, reason)
        elif once:
            self._once()
        else:
            self._serve()

    def _status(self) -> None:
        found = figures.now(vaults.clock())
        standing = judged(found)
        lines = [f"If this machine burned now, we would lose: {standing.lost} ({standing.lost_words}). The promise is {standing.state}."]
        lines += [_place_line(place, found.at) for place in found.places]
        lines += [f"{finding.reason} {finding.todo}" for finding in standing.findings]
        self.report(lines, _status_document(found, standing))
        if standing.state is not State.KEPT:
            raise CommandError(f"The promise of hot backups is {standing.state}.")

    def _serve(self) -> None:
        stopped = False

        def stop(number: int, frame: object) -> None:
            nonlocal stopped
            stopped = True

        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, stop)
        with actors.acting("shipper", reason="hot backup", source="hotbackup"):
            shipper.serve(vaults.from_settings(), lambda: stopped, self._say)
        self.report([], {"stopped": True})

    def _say(self, line: str) -> None:
        self.stderr.write(f"{timezone.now():%H:%M:%S} shipper: {line}", style_func=str)
        self.stderr.flush()

    def _once(self) -> None:
        with actors.acting(actors.of_shell("hotbackup")):
            owed = shipper.ship_once(vaults.from_settings(), self._say, patience=PATIENCE)
        standing = shipper.standing()
        self.report(
            [f"Shipped: the newest segment is {standing['segment']}; {standing['waiting']} changes wait."], standing | {"owed": owed}
        )
        if owed or standing["waiting"]:
            raise CommandError(f"Not all is shipped: {', '.join(owed) or 'changes'} still owed. Look at that location, then run it again.")

    def _new_timeline(self, person: str | None, password_file: Path | None, reason: str) -> None:
        if not person or not password_file or not reason.strip():
            raise CommandError("A new timeline needs --as USER, --password-file FILE and --reason.")
        user = at_the_command_line(person, read_password(password_file), "l2l_backups.operate_run")
        with actors.acting(actors.of_user(user, reason=reason, source="hotbackup")):
            timeline = timelines.begin(vaults.from_settings(), by=user.get_username(), reason=reason)
        self.report(
            [f"Timeline {timeline.number} begins with segment {timeline.first_segment}; {len(timeline.forks)} customers fork."],
            timelines.document(timeline),
        )


def _place_line(place: Place, now: datetime) -> str:
    age, hour = place.lag.age(now), place.last_hour
    lacks = f"lacks {place.lag.words}, the oldest for {length(age)}" if place.lag.since else "lacks nothing"
    took = f"; last hour: {hour.changes:,} changes, the longest after {length(timedelta(seconds=hour.longest))}" if hour.changes else ""
    return f"  {place.name}: {lacks}{took}"


def _status_document(found: Figures, standing: Standing) -> dict[str, Any]:
    return {
        "state": str(standing.state),
        "lost": standing.lost,
        "leader": found.shipping.holder,
        "locations": {
            place.name: {
                "changes": place.lag.changes,
                "files": place.lag.files,
                "oldest_seconds": place.lag.age(found.at).total_seconds(),
                "longest_today_seconds": place.longest_today(found.at).total_seconds(),
            }
            for place in found.places
        },
        "findings": [{"reason": finding.reason, "todo": finding.todo} for finding in standing.findings],
    }
