"""`manage.py terms`: what was agreed with a customer, shown and changed by the same rules as in the admin (P5, P9)."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors, clock
from audit.commands import BackOfficeCommand, read_password
from audit.moments import in_utc
from audit.people import at_the_command_line
from audit.states import State
from subscriptions import term_requests
from subscriptions.models import Customer, Subscription, TermChangeRequest
from subscriptions.term_requests import WhatIf
from subscriptions.terms import AGREED

SEES = "l2l_subscriptions.view_termchangerequest"
DECISIONS = ("approve", "refuse", "cancel")
OPTIONS = {"end": "end", "agreed_retention_years": "years", "agreed_destruction_days": "destroy_within"}


def _or(word: str, parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """A value, or the word that stands for none."""

    def parsed(text: str) -> Any:
        try:
            return None if text == word else parse(text)
        except ValueError:
            raise ArgumentTypeError(f"invalid value {text!r}; {word!r} takes the agreed one away") from None

    return parsed


class Command(BackOfficeCommand):
    help = (
        "Shows what is agreed with a customer, or changes it: what lets nothing go sooner at once, by one person; what may let something "
        "go sooner is asked for, approved by another person with --approve, and takes effect seven days after that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", nargs="?", help="short code; left out with --approve, --refuse, --cancel")
        parser.add_argument("--agreement", metavar="NUMBER", help="which one, when the customer has several")
        changed: dict[str, Any] = {"default": SUPPRESS}
        parser.add_argument("--years", type=_or("standard", int), metavar="N", help="years that data is kept, or 'standard'", **changed)
        parser.add_argument(
            "--destroy-within", type=_or("standard", int), metavar="DAYS", help="days until destruction, or 'standard'", **changed
        )
        parser.add_argument(
            "--end", type=_or("open", date.fromisoformat), metavar="DATE", help="last day, YYYY-MM-DD, or 'open'", **changed
        )
        parser.add_argument("--what-if", action="store_true", help="says what the change would do, and stores nothing")
        step = parser.add_mutually_exclusive_group()
        for name in DECISIONS:
            step.add_argument(f"--{name}", type=int, metavar="ID", default=SUPPRESS, help=f"{name}s the request of that number")
        parser.add_argument("--why", metavar="TEXT", help="stands in the history for good")
        parser.add_argument("--as", metavar="USER", dest="user", help="who does this")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")

    def work(self, *, customer: str | None, **options: Any) -> None:
        decision = next((name for name in DECISIONS if name in options), None)
        changes = {field: options[name] for field, name in OPTIONS.items() if name in options}
        _check_options(customer, decision, changes, options)
        if decision:
            self._as(options, lambda user, password: self._decide(decision, _request(options[decision]), user, password, options["why"]))
            return
        subscription = _subscription(customer or "", options["agreement"])
        if not changes:
            self._show(subscription)
        elif options["what_if"]:
            self._tell(term_requests.what_if(subscription, now=clock.now(), **changes))
        else:
            self._as(options, lambda user, _: self._change(subscription, changes, user, options["why"]))

    def _as(self, options: dict[str, Any], act: Callable[[Any, str], None]) -> None:
        password = read_password(options["password_file"])
        with actors.acting(actors.of_shell("terms")):
            user = at_the_command_line(options["user"], password, SEES)
        with actors.acting(actors.of_user(user, source="terms")):
            act(user, password)

    def _change(self, subscription: Subscription, changes: dict[str, Any], user: Any, why: str) -> None:
        about: dict[str, Any] = {"by": user, "why": why, "now": clock.now(), **changes}
        if not term_requests.what_if(subscription, now=clock.now(), **changes).shorter:
            self._show(term_requests.change_at_once(subscription, **about), "The new terms are in force.")
            return
        asked = term_requests.request_change(subscription, **about)
        told = f"Asked, as request {asked.pk}. Another person approves it: manage.py terms --approve {asked.pk} --as USER …"
        self._show(subscription, told)

    def _decide(self, decision: str, asked: TermChangeRequest, user: Any, password: str, why: str | None) -> None:
        if decision == "approve":
            approved = term_requests.approve(asked, by=user, password=password, now=clock.now())
            told = f"Approved: it takes effect on {in_utc(approved.begins_at)}." if approved.begins_at else ""
        else:
            end = term_requests.refuse if decision == "refuse" else term_requests.cancel
            told = f"The request is {end(asked, by=user, why=why or '', now=clock.now()).state}."
        self._show(Subscription.objects.get(pk=asked.subscription_id), told)

    def _show(self, subscription: Subscription, *more: str) -> None:
        requests = list(subscription.term_requests.select_related("requested_by", "approved_by"))
        words = "; ".join(
            f"{term_requests.label_of(name)} {term_requests.value_in_words(name, getattr(subscription, name))}" for name in AGREED
        )
        lines = [f"{subscription.agreement_number}, {subscription.customer.code}: {words}"]
        self.report([*lines, *(_line(one) for one in requests), *more], _document(subscription, requests))

    def _tell(self, found: WhatIf) -> None:
        way = "It takes a second person, and seven days after the approval." if found.shorter else "It takes effect at once."
        sentences = [sentence for effect in found.effects for sentence in effect.sentences]
        document = {"changes": found.plan["changes"], "shorter": found.shorter, "effects": sentences}
        self.report([found.words, *sentences, f"{way} Nothing was stored."], document)


def _check_options(customer: str | None, decision: str | None, changes: dict[str, Any], options: dict[str, Any]) -> None:
    """`CommandError` for what lacks, and for what the step would not look at."""
    if (customer is None) != (decision is not None):
        raise CommandError("A request is decided on by its number alone." if customer else "Say which customer, by its short code.")
    if decision and (changes or options["what_if"]):
        raise CommandError("A request is decided on as it was asked for: leave the terms out.")
    if not decision and (not changes or options["what_if"]):
        if options["what_if"] and not changes:
            raise CommandError("Say what would change: --years, --destroy-within or --end.")
        return
    if decision != "approve" and not (options["why"] or "").strip():
        raise CommandError("It lacks --why.")
    if not (options["user"] and options["password_file"]):
        raise CommandError("Say who does this: --as USER --password-file FILE.")


def _subscription(code: str, agreement: str | None) -> Subscription:
    customer = Customer.objects.all().by_code(code)
    found = [one for one in customer.subscriptions.select_related("customer") if agreement in (None, one.agreement_number)]
    if not found:
        raise CommandError(f"{code} has no such agreement." if agreement else f"{code} has no subscription.")
    if len(found) > 1:
        raise CommandError(f"{code} has {len(found)} agreements: say --agreement {' or '.join(one.agreement_number for one in found)}.")
    return found[0]


def _request(ident: int) -> TermChangeRequest:
    found = TermChangeRequest.objects.select_related("subscription__customer", "requested_by").filter(pk=ident).first()
    if found is None:
        raise CommandError(f"There is no request {ident}. 'manage.py terms CUSTOMER' shows those of a customer.")
    return found


def _line(asked: TermChangeRequest) -> str:
    begins = f", takes effect {in_utc(asked.begins_at)}" if asked.begins_at and asked.state == State.APPROVED else ""
    return f"  request {asked.pk}: {asked.state}{begins}, asked by {asked.requested_by}: {asked.what} ({asked.why})"


def _document(subscription: Subscription, requests: list[TermChangeRequest]) -> dict[str, Any]:
    return {
        "customer": subscription.customer.code,
        "agreement": subscription.agreement_number,
        "start": subscription.start.isoformat(),
        "end": subscription.end.isoformat() if subscription.end else None,
        "years": subscription.agreed_retention_years,
        "destroy_within": subscription.agreed_destruction_days,
        "requests": [
            {
                "request": one.pk,
                "state": State(one.state).value,
                "changes": one.changes,
                "why": one.why,
                "requested_by": one.requested_by.get_username(),
                "approved_by": one.approved_by.get_username() if one.approved_by else None,
                "begins_at": one.begins_at.isoformat() if one.begins_at else None,
            }
            for one in requests
        ],
    }
