"""`manage.py purge [CUSTOMER]`: what is past its term; asked for, approved and carried out by the same rules as in the back office (P9)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand, read_password
from audit.people import at_the_command_line
from backups import vault as vaults
from backups.errors import BackupError
from backups.models import PurgeRequest, PurgeTry
from backups.purge import carrying_out, requests
from backups.purge.requests import OPEN
from backups.stores.contract import StoreError
from subscriptions import holds, past_term
from subscriptions.models import Customer
from subscriptions.past_term import HORIZONS, Listed, Overdue
from subscriptions.terms import Rule

DECISIONS = ("approve", "refuse", "cancel")
TERMS = PurgeRequest.Term.values


class Command(BackOfficeCommand):
    help = (
        "Lists what is past its term, and will be within 30 days, 90 days and 12 months. One person asks that it goes, another approves, "
        "and --apply removes what is approved and due: without it nothing is removed."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", nargs="?", metavar="CUSTOMER", help="short code; every customer when left out")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--ask", choices=TERMS, metavar="TERM", help=f"asks that it goes: {' or '.join(TERMS)}")
        for name in DECISIONS:
            step.add_argument(f"--{name}", type=int, metavar="ID", help=f"{name}s that request, as the page does")
        step.add_argument("--apply", action="store_true", help="removes what is approved and due, now")
        parser.add_argument("--day", type=_day, metavar="DATE", help="with --ask: past their term on that day; today when left out")
        parser.add_argument("--reason", metavar="TEXT", help="with --ask, --refuse and --cancel: why")
        parser.add_argument("--as", metavar="USER", dest="user", help="who does this")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")

    def work(self, *, customer: str | None, apply: bool, ask: str | None, **options: Any) -> None:
        chosen = Customer.objects.all().by_code(customer) if customer else None
        decision = next((name for name in DECISIONS if options[name] is not None), None)
        if apply:
            self._apply(chosen)
        elif ask or decision:
            with actors.acting(actors.of_user(self._person(options), source="purge")):
                self._tell(self._asked(chosen, ask, options) if ask else self._decided(str(decision), options))
        else:
            self._list([chosen] if chosen else list(Customer.objects.order_by("code")))

    def _person(self, options: dict[str, Any]) -> Any:
        """Who gave a name and the password."""
        if not options["user"] or not options["password_file"]:
            raise CommandError("Say who does this: --as USER --password-file FILE.")
        with actors.acting(actors.of_shell("purge")):
            self.user = at_the_command_line(options["user"], read_password(options["password_file"]), PurgeRequest.permission("view"))
        return self.user

    def _asked(self, customer: Customer | None, term: str, options: dict[str, Any]) -> PurgeRequest:
        if customer is None:
            raise CommandError("Say of which customer: purge CUSTOMER --ask TERM.")
        now = vaults.clock()
        day = options["day"] or past_term.today_of(customer, now)
        return requests.ask(customer, term, day, by=self.user, why=_reason(options), now=now)

    def _decided(self, decision: str, options: dict[str, Any]) -> PurgeRequest:
        asked, now = _request(options[decision]), vaults.clock()
        if decision == "approve":
            return requests.approve(asked, by=self.user, password=read_password(options["password_file"]), now=now)
        end = requests.refuse if decision == "refuse" else requests.cancel
        return end(asked, by=self.user, why=_reason(options), now=now)

    def _tell(self, asked: PurgeRequest) -> None:
        self.report([_line(asked)], _document(asked))

    def _apply(self, customer: Customer | None) -> None:
        with actors.acting(actors.of_shell("purge", reason="content past its term")):
            only = None if customer is None else [customer.pk]
            report = carrying_out.look(vaults.from_settings(), only=only, progress=self.progress())
        lines = [f"{code}: {items:,} items gone and read back" for code, items in report.items.items()]
        troubles = [f"request {ident}: {trouble}" for ident, trouble in report.troubles.items()]
        document = {"items": report.items, "troubles": [{"request": ident, "what": what} for ident, what in report.troubles.items()]}
        self.report([*(lines or ["Nothing is approved and due."]), *troubles], document)
        if troubles:
            raise CommandError(f"Not everything that is approved and due went: {'; '.join(troubles)}")

    def _list(self, customers: Iterable[Customer]) -> None:
        now, lines, documents = vaults.clock(), [], []
        for customer in customers:
            listed, late, held = past_term.listed(customer, now), past_term.overdue(customer, now), bool(holds.held([customer.pk]))
            open_requests = list(PurgeRequest.objects.filter(customer=customer, state__in=OPEN).select_related("customer", "requested_by"))
            if listed or open_requests:
                lines += [*_lines_of(customer, listed, late, held), *(f"  {_line(one)}" for one in open_requests)]
                documents.append(_customer_document(customer, listed, late, held) | {"requests": [_document(one) for one in open_requests]})
        self.report(lines or ["Nothing is past its term, nor will be within a year."], {"customers": documents})


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no day. Write it like 2026-03-04.") from None


def _reason(options: dict[str, Any]) -> str:
    if not options["reason"]:
        raise CommandError("Say why: --reason TEXT.")
    return str(options["reason"])


def _request(ident: int) -> PurgeRequest:
    found = PurgeRequest.objects.select_related("customer", "requested_by", "approved_by").filter(pk=ident).first()
    if found is None:
        raise CommandError(f"There is no request {ident}. 'manage.py purge' lists those that are open.")
    return found


def _line(asked: PurgeRequest) -> str:
    tried = PurgeTry.objects.filter(pk=asked.pk).first()
    trouble = f" ({tried.trouble})" if tried is not None and tried.trouble else ""
    return f"request {asked.pk}: {asked.what}: {asked.state}{trouble}, asked by {asked.requested_by}"


def _lines_of(customer: Customer, listed: Iterable[Listed], late: Overdue | None, held: bool) -> list[str]:
    lines = [f"{customer.code}{': a legal hold is open, nothing goes' if held else ''}"]
    if late:
        lines.append(f"  OVERDUE: {late.items:,} items should have gone, the first on {late.since}")
    for one in listed:
        ahead = ", ".join(f"{count:,} within {days} days" for days, count in zip(HORIZONS[1:], one.by[1:], strict=True))
        lines.append(f"  {one.protected.label}, {one.rule}: {one.by[0]:,} past it, {ahead}")
    return lines


def _customer_document(customer: Customer, listed: Iterable[Listed], late: Overdue | None, held: bool) -> dict[str, Any]:
    return {
        "customer": customer.code,
        "held": held,
        "overdue": {"items": late.items, "since": late.since.isoformat()} if late else None,
        "items": [
            {
                "model": one.protected.label,
                "term": (PurgeRequest.Term.AGREED if one.rule == Rule.AGREED_TERM else PurgeRequest.Term.STANDARD).value,
                "within_days": {str(days): count for days, count in zip(HORIZONS, one.by, strict=True)},
            }
            for one in listed
        ],
    }


def _document(asked: PurgeRequest) -> dict[str, Any]:
    return {
        "request": asked.pk,
        "customer": asked.customer.code,
        "what": asked.what,
        "term": asked.term,
        "day": asked.day.isoformat(),
        "state": asked.state,
        "requested_by": asked.requested_by.get_username(),
        "approved_by": asked.approved_by.get_username() if asked.approved_by else None,
        "plan_digest": asked.plan_digest,
        "counts": asked.counts,
    }
