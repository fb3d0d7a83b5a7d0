"""`manage.py prune`: what retention keeps and lets go, with reasons; with `--apply` it does it (P6)."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors, clock
from audit.commands import BackOfficeCommand, read_password
from audit.models import Stream
from audit.moments import in_utc
from audit.people import at_the_command_line
from audit.sizes import in_units
from backups import vault as vaults
from backups.errors import BackupError
from backups.prune import carrying_out, clock_doubt, plan
from backups.prune.carrying_out import Pass
from backups.prune.plan import Planned
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = "Shows which sets retention keeps and which it lets go, and why. Nothing is removed without --apply."
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "customers", nargs="*", metavar="CUSTOMER", help="short codes; all at which something is due when none is named"
        )
        parser.add_argument("--at", metavar="DATE", help="look as if it were that day or moment (ISO 8601); only to look")
        parser.add_argument("--apply", action="store_true", help="let go what the plan says, and remove it at every location")
        parser.add_argument("--clear-clock", metavar="WHY", help="vouch for the clock for a day, when it is in doubt")
        parser.add_argument("--as", dest="person", metavar="USER", help="who vouches; needs the right to clear the clock")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="a file with that person's password")

    def work(
        self,
        *,
        customers: list[str],
        at: str | None,
        apply: bool,
        clear_clock: str | None,
        person: str | None,
        password_file: Path | None,
        **options: Any,
    ) -> None:
        if clear_clock is not None:
            self._clear(clear_clock, person, password_file)
            return
        if at and apply:
            raise CommandError("--at is only to look: sets go when their time has really come. Leave out one of --at and --apply.")
        only = [_stream(code) for code in customers] or None
        if apply:
            self._apply(only)
        else:
            self._plan(_moment(at) if at else vaults.clock(), only)

    def _plan(self, at: datetime, only: list[uuid.UUID] | None) -> None:
        planned = list(plan.plans(at, only))
        going = sum(len(one.going) for one in planned)
        size = sum(one.new_bytes.get(stored.id, 0) for one in planned for stored, _ in one.going)
        lines = [line for one in planned for line in _lines(one, whole=only is not None)]
        total = f"{going} sets of {sum(bool(one.going) for one in planned)} customers would go; they added {in_units(size)}."
        doubts = clock_doubt.doubts_of(vaults.from_settings(), vaults.clock())
        lines += [total, *(f"But nothing is removed while the clock is in doubt: {doubt}." for doubt in doubts)]
        self.report(
            [*lines, "Nothing was removed. With --apply it is."],
            {"at": at.isoformat(), "applied": False, "doubts": doubts, "streams": [plan.document(one) for one in planned], "going": going},
        )

    def _apply(self, only: list[uuid.UUID] | None) -> None:
        with actors.acting(actors.of_shell("prune")):
            done = carrying_out.carry_out(vaults.from_settings(), only=only, progress=self.progress())
        lines = [
            f"{done.looked_at} customers looked at; {done.periods} weeks and months decided; {done.sets} sets let go; "
            f"{done.objects} objects ({in_units(done.bytes)}) removed at every location.",
            *(f"{name}: nothing goes: a legal hold is open" for name in done.held),
            *(f"{name}: nothing goes: {why}" for name, why in sorted(done.waits.items())),
            *(f"Could not be removed yet: {one}" for one in done.left),
        ]
        self.report(lines, _document(done))
        if done.left or done.waits:
            raise CommandError(
                f"Not all that was to go is gone: {len(done.left)} objects are left, {len(done.waits)} customers wait. See above; the next "
                "pass goes on from there."
            )

    def _clear(self, why: str, person: str | None, password_file: Path | None) -> None:
        if not person or not password_file:
            raise CommandError("Vouching for the clock needs --as USER and --password-file FILE.")
        user = at_the_command_line(person, read_password(password_file), "l2l_backups.clear_clock")
        until = clock_doubt.clear(by=user, why=why, now=clock.now())
        self.report([f"{user.get_username()} vouches for the clock until {in_utc(until)}."], {"until": until.isoformat()})


def _stream(code: str) -> uuid.UUID:
    found = Stream.objects.filter(name=code).values_list("pk", flat=True).first()
    if found is None:
        raise CommandError(f"There is no customer {code!r}.")
    return found


def _moment(text: str) -> datetime:
    try:
        if len(text) == len("2026-01-31"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no day or moment. Write 2026-03-04 or 2026-03-04T12:00:00Z.") from None
    if moment.tzinfo is None:
        raise CommandError(f"{text!r} has no zone. Write {text}Z for UTC.")
    return moment


def _lines(one: Planned, *, whole: bool) -> list[str]:
    """Of a customer that was named every set; else only those that go."""
    decided = one.decided
    stopped = "a legal hold is open" if decided.facts.held else decided.waits
    found = [f"{one.name}: {len(decided.decisions)} sets, {len(one.going)} would go" + (f"; nothing goes: {stopped}" if stopped else "")]
    for choice in decided.chosen:
        what = f"the set {choice.set_id[:8]}" if choice.set_id else "no set: it is missed"
        found.append(f"  decides  {choice.period.key}: {what}" + (f", {choice.nights_off} nights off" if choice.stands_in else ""))
    for stored, decision in one.sets if whole else one.going:
        verb = "keeps" if decision.kept or decided.waits else "goes "
        until = f"until {decision.goes_at:%Y-%m-%d %H:%M} UTC"
        added = in_units(one.new_bytes.get(stored.id, 0))
        found.append(f"  {verb}  {stored.id[:8]}  night of {stored.night}  {until}  added {added}  {decision.words}")
    return found


def _document(done: Pass) -> dict[str, Any]:
    return {
        "applied": True,
        "looked_at": done.looked_at,
        "periods": done.periods,
        "sets": done.sets,
        "objects": done.objects,
        "bytes": done.bytes,
        "held": done.held,
        "waits": done.waits,
        "left": done.left,
    }
