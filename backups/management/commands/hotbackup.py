"""`manage.py hotbackup`: the shipper; `--once` ships what waits and ends; `--new-timeline` after the database went back in time."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from audit import actors
from audit.commands import BackOfficeCommand, read_password
from audit.people import at_the_command_line
from backups import vault as vaults
from backups.errors import BackupError
from backups.hot import sessions, shipper, timelines
from backups.hot.lanes import WentBack
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
            "--new-timeline", action="store_true", help="give up what the database lacks after it went back in time, and ship again"
        )
        parser.add_argument("--as", dest="person", metavar="USER", help="who starts the new timeline; needs the right to operate runs")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="a file with that person's password")
        parser.add_argument("--reason", default="", help="why a new timeline is started")

    def work(self, *, once: bool, new_timeline: bool, person: str | None, password_file: Path | None, reason: str, **options: Any) -> None:
        sessions.keep_short()
        if new_timeline:
            self._new_timeline(person, password_file, reason)
        elif once:
            self._once()
        else:
            self._serve()

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
