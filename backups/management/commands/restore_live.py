"""`manage.py restore_live (ask CUSTOMER | show [ID] | approve ID | refuse ID | cancel ID)`: into the live tables, by two people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand, read_password
from audit.people import at_the_command_line
from audit.states import State
from backups import vault as vaults
from backups.choosing import Only
from backups.errors import BackupError
from backups.live_restore import carrying_out, requests
from backups.live_restore.plans import Plan
from backups.live_restore.sources import Which
from backups.management.commands.restore import moment_of
from backups.manifest import BadManifest
from backups.models import LiveRestore, LiveRestoreRequest
from backups.stores.contract import StoreError
from subscriptions.models import Customer

KEYS_SHOWN = 5


class Command(BackOfficeCommand):
    help = "Brings a customer's live tables back to the state of a set or of any second: one person asks, another approves, with passwords."
    known = (BackupError, StoreError, BadManifest)

    def add_arguments(self, parser: CommandParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True, metavar="(ask | show | approve | refuse | cancel)")
        ask = self._step(steps, "ask", "shows what would change and asks for it", person=True, reason=True)
        ask.add_argument("customer", metavar="CUSTOMER", help="short code")
        state = ask.add_mutually_exclusive_group()
        state.add_argument("--set", metavar="ID", dest="set_id", help="the set's id or its beginning; the newest one when left out")
        state.add_argument("--at", type=moment_of, metavar="TIME", help="the state at that moment, e.g. 2026-03-04T02:05:09+01:00")
        ask.add_argument("--only", type=Only.of_text, metavar="MODEL[:REFERENCE]", help="one model, or one item, e.g. datarecord:P-17")
        show = self._step(steps, "show", "all requests, or one with what it would change now")
        show.add_argument("request", type=int, nargs="?", metavar="ID")
        for name, does, reason in (
            ("approve", "approves as the second person, and carries it out", False),
            ("refuse", "refuses as the second person", True),
            ("cancel", "calls it off, until it is committed", True),
        ):
            self._step(steps, name, does, person=True, reason=reason).add_argument("request", type=int, metavar="ID")

    def _step(self, steps: Any, name: str, does: str, *, person: bool = False, reason: bool = False) -> CommandParser:
        parser: CommandParser = steps.add_parser(name, help=does)
        super().add_arguments(parser)
        if person:
            parser.add_argument("--as", required=True, metavar="USER", dest="user", help="who does this")
            parser.add_argument("--password-file", required=True, type=Path, metavar="FILE", help="its first line; mode 0600")
        if reason:
            parser.add_argument("--reason", required=True, metavar="TEXT", help="stands beside it, and in the history of every row")
        return parser

    def work(self, *, step: str, **options: Any) -> None:
        self.vault = vaults.from_settings()
        if step == "show":
            self._show(options["request"])
            return
        with actors.acting(actors.of_shell("restore_live")):
            user = at_the_command_line(options["user"], read_password(options["password_file"]), LiveRestoreRequest.permission("view"))
        with actors.acting(actors.of_user(user, source="restore_live")):
            if step == "ask":
                self._ask(user, options)
            elif step == "approve":
                self._approve(_request(options["request"]), user, read_password(options["password_file"]))
            else:
                end = requests.refuse if step == "refuse" else requests.cancel
                self._tell(end(_request(options["request"]), by=user, why=options["reason"], now=self.vault.clock()))

    def _ask(self, user: Any, options: dict[str, Any]) -> None:
        customer = Customer.objects.all().by_code(options["customer"])
        which, now = Which(options["set_id"], options["at"]), self.vault.clock()
        asked = requests.ask(self.vault, customer, which, by=user, why=options["reason"], now=now, only=options["only"])
        lines = [f"Asked, as request {asked.pk}. Another person approves it: manage.py restore_live approve {asked.pk} --as USER …"]
        self._tell(asked, plan=requests.plan_of(self.vault, asked), more=lines)

    def _show(self, ident: int | None) -> None:
        if ident is None:
            found = list(LiveRestoreRequest.objects.select_related("customer", "requested_by"))
            self.report([_line(one) for one in found] or ["Nobody asked for a live restore yet."], [_document(one) for one in found])
            return
        asked = _request(ident)
        self._tell(asked, plan=requests.plan_of(self.vault, asked) if requests.is_open(asked) else None)

    def _approve(self, asked: LiveRestoreRequest, user: Any, password: str) -> None:
        requests.approve(self.vault, asked, by=user, password=password, now=self.vault.clock())
        done = carrying_out.carry_out(self.vault, asked.pk, progress=self.progress())
        self._tell(_request(asked.pk))
        if done is None:
            raise CommandError("The worker carries it out already: see 'restore_live show'.")
        if done.state != LiveRestore.State.DONE:
            again = " The worker tries it again." if done.state == LiveRestore.State.WAITING else ""
            raise CommandError(f"It was not restored, and nothing was changed: {done.trouble}{again}")

    def _tell(self, asked: LiveRestoreRequest, *, plan: Plan | None = None, more: list[str] | None = None) -> None:
        lines = [_line(asked), *(_lines_of_plan(plan) if plan else ()), *(more or ())]
        self.report(lines, _document(asked) | ({"plan": _document_of_plan(plan)} if plan else {}))


def _request(ident: int) -> LiveRestoreRequest:
    found = LiveRestoreRequest.objects.select_related("customer", "requested_by", "approved_by").filter(pk=ident).first()
    if found is None:
        raise CommandError(f"There is no request {ident}. 'manage.py restore_live show' lists them.")
    return found


def _carrying_out(asked: LiveRestoreRequest) -> LiveRestore | None:
    return LiveRestore.objects.filter(pk=asked.pk).first()


def _line(asked: LiveRestoreRequest) -> str:
    row = _carrying_out(asked)
    standing = f", {row.get_state_display()}" if row is not None and asked.state == State.APPROVED else ""
    trouble = f" ({row.trouble})" if row is not None and row.trouble else ""
    return f"{asked.pk}: {asked.what}: {asked.state}{standing}{trouble}, asked by {asked.requested_by}"


def _lines_of_plan(plan: Plan) -> list[str]:
    lines = [
        f"  {label}: {added:,} added, {changed:,} changed, {removed:,} removed" for label, (added, changed, removed) in plan.counts.items()
    ]
    lines += [f"  files: {len(plan.files):,} to be put back"] if plan.files else []
    lines += [f"  {one.protected.label} keys: {_keys(one.moving)}" for one in plan.models if one.moving]
    return [*lines, *(f"  In the way: {text}" for text in plan.obstacles), *(f"  Note: {note}" for note in plan.notes)]


def _keys(keys: frozenset[Any]) -> str:
    return ", ".join(map(str, sorted(keys)[:KEYS_SHOWN])) + (" …" if len(keys) > KEYS_SHOWN else "")


def _document(asked: LiveRestoreRequest) -> dict[str, Any]:
    row = _carrying_out(asked)
    return {
        "request": asked.pk,
        "customer": asked.customer.code,
        "what": asked.what,
        "state": asked.state,
        "state_at": asked.state_at.isoformat(),
        "set": str(asked.set_id) if asked.set_id else None,
        "only": {"model": asked.only_model, "keys": asked.only_keys} if asked.only_model else None,
        "requested_by": asked.requested_by.get_username(),
        "approved_by": asked.approved_by.get_username() if asked.approved_by else None,
        "plan_digest": asked.plan_digest,
        "counts": asked.counts,
        "carrying_out": {"state": row.state, "attempts": row.attempts, "files": row.files, "trouble": row.trouble} if row else None,
    }


def _document_of_plan(plan: Plan) -> dict[str, Any]:
    return {"counts": plan.counts, "files": len(plan.files), "in_the_way": list(plan.obstacles), "notes": list(plan.notes)}
