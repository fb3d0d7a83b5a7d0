"""`manage.py hold`: legal holds at the command line, by the same rules as in the admin (P9)."""

from __future__ import annotations

from argparse import SUPPRESS
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.timezone import localdate

from audit import actors, clock
from audit.commands import BackOfficeCommand, a_day, read_password
from audit.moments import in_utc
from audit.people import at_the_command_line
from audit.states import State
from subscriptions import holds
from subscriptions.models import Customer, HoldReleaseRequest, LegalHold

SEES = "l2l_subscriptions.view_legalhold"
DECISIONS = ("approve", "refuse", "cancel")
# Beside the customer and the person, what each step takes and needs.
TAKES: dict[str, frozenset[str]] = {
    "place": frozenset({"holder", "basis", "review"}),
    "postpone": frozenset({"review", "why"}),
    "release": frozenset({"why"}),
    "refuse": frozenset({"why"}),
    "cancel": frozenset({"why"}),
    "approve": frozenset(),
    "list": frozenset(),
}


class Command(BackOfficeCommand):
    help = (
        "Places a legal hold on a customer, so that nothing of it is removed; or lists holds, postpones a review, asks for a release, "
        "or decides on one. One person places it, two release it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", nargs="?", help="short code; left out with --approve, --refuse, --cancel")
        step = parser.add_mutually_exclusive_group()
        step.add_argument("--list", action="store_const", const="list", dest="step", help="the holds and requests, of one customer or all")
        step.add_argument("--postpone", action="store_const", const="postpone", dest="step", help="it was reviewed and must stay")
        step.add_argument("--release", action="store_const", const="release", dest="step", help="asks for the release")
        for name in DECISIONS:
            step.add_argument(
                f"--{name}", type=int, metavar="ID", default=SUPPRESS, help=f"{name}s the request for a release of that number"
            )
        parser.add_argument("--holder", metavar="TEXT", help="who demands it: a court, an authority, counsel")
        parser.add_argument("--basis", metavar="TEXT", help="on what ground: order, case or file number")
        parser.add_argument("--review", type=a_day, metavar="DATE", help="when somebody looks whether it must stay, YYYY-MM-DD")
        parser.add_argument("--why", metavar="TEXT", help="stands in the history for good")
        parser.add_argument("--hold", type=int, metavar="ID", help="which one, when the customer has several open ones")
        parser.add_argument("--as", metavar="USER", dest="user", help="who does this")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")

    def work(self, *, customer: str | None, step: str | None, **options: Any) -> None:
        decision = next((name for name in DECISIONS if name in options), None)
        step = step or decision or "place"
        _check_options(step, customer, options)
        if step == "list":
            self._list(customer)
            return
        password = read_password(options["password_file"])
        with actors.acting(actors.of_shell("hold")):
            user = at_the_command_line(options["user"], password, SEES)
        with actors.acting(actors.of_user(user, source="hold")):
            if decision:
                self._decide(decision, _request(options[decision]), user, password, options["why"])
            else:
                act = {"place": self._place, "postpone": self._postpone, "release": self._release}[step]
                act(Customer.objects.all().by_code(customer or ""), user, options)

    def _place(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        about = {"holder": options["holder"], "basis": options["basis"], "review_on": options["review"]}
        hold = holds.place(customer, **about, by=user, now=clock.now())
        self._tell(hold, f"Nothing of {customer.code} is removed from now on.")

    def _postpone(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        hold = _open_hold(customer, options["hold"])
        self._tell(holds.postpone_review(hold, review_on=options["review"], why=options["why"], by=user, now=clock.now()))

    def _release(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        asked = holds.request_release(_open_hold(customer, options["hold"]), by=user, why=options["why"], now=clock.now())
        self._tell(asked.hold, f"Asked, as request {asked.pk}. Another person approves it: manage.py hold --approve {asked.pk} --as USER …")

    def _decide(self, decision: str, asked: HoldReleaseRequest, user: Any, password: str, why: str | None) -> None:
        if decision == "approve":
            holds.release(asked, by=user, password=password, now=clock.now())
        else:
            end = holds.refuse if decision == "refuse" else holds.cancel
            end(asked, by=user, why=why or "", now=clock.now())
        self._tell(LegalHold.objects.get(pk=asked.hold_id))

    def _list(self, customer: str | None) -> None:
        found = LegalHold.objects.select_related("customer").prefetch_related("releases__requested_by", "releases__approved_by")
        if customer is not None:
            found = found.filter(customer=Customer.objects.all().by_code(customer))
        listed = list(found)
        lines = [line for hold in listed for line in _lines(hold)]
        self.report(lines or ["There is no legal hold."], [_document(hold) for hold in listed])

    def _tell(self, hold: LegalHold, *more: str) -> None:
        self.report([*_lines(hold), *more], _document(hold))


def _check_options(step: str, customer: str | None, options: dict[str, Any]) -> None:
    """`CommandError` for what lacks, and for what the step would not look at."""
    if (customer is None) != (step in DECISIONS) and step != "list":
        raise CommandError("A request is decided on by its number alone." if customer else "Say which customer, by its short code.")
    given = {name for name in ("holder", "basis", "review", "why") if options[name] is not None}
    if lacking := TAKES[step] - given:
        raise CommandError(f"It lacks {_options(lacking)}.")
    if unused := given - TAKES[step]:
        raise CommandError(f"{_options(unused)}: not for this step.")
    if step != "list" and not (options["user"] and options["password_file"]):
        raise CommandError("Say who does this: --as USER --password-file FILE.")


def _options(names: set[str] | frozenset[str]) -> str:
    return ", ".join(f"--{name}" for name in sorted(names))


def _open_hold(customer: Customer, ident: int | None) -> LegalHold:
    found = list(LegalHold.objects.filter(customer=customer, released_at=None).select_related("customer"))
    chosen = [hold for hold in found if ident in (None, hold.pk)]
    if not chosen:
        raise CommandError(f"{customer.code} has no such open hold. 'manage.py hold {customer.code} --list' shows them.")
    if len(chosen) > 1:
        raise CommandError(
            f"{customer.code} has {len(chosen)} open holds: say which with --hold {' or '.join(str(one.pk) for one in chosen)}."
        )
    return chosen[0]


def _request(ident: int) -> HoldReleaseRequest:
    found = HoldReleaseRequest.objects.select_related("hold__customer", "requested_by").filter(pk=ident).first()
    if found is None:
        raise CommandError(f"There is no request {ident}. 'manage.py hold --list' shows them.")
    return found


def _standing(hold: LegalHold) -> str:
    if hold.released_at is not None:
        return f"released {in_utc(hold.released_at)}, asked by {hold.released_by}, approved by {hold.release_approved_by}"
    due = " (DUE)" if hold.is_due(localdate(clock.now())) else ""
    return f"open since {in_utc(hold.placed_at)}, review on {hold.review_on}{due}"


def _lines(hold: LegalHold) -> list[str]:
    requests = [f"  request {one.pk}: {one.state}, asked by {one.requested_by}: {one.why}" for one in hold.releases.all()]
    return [f"{hold.pk}: {hold.customer.code}, {hold.holder} ({hold.basis}): {_standing(hold)}", *requests]


def _document(hold: LegalHold) -> dict[str, Any]:
    return {
        "hold": hold.pk,
        "customer": hold.customer.code,
        "holder": hold.holder,
        "basis": hold.basis,
        "placed_by": hold.placed_by,
        "placed_at": hold.placed_at.isoformat(),
        "review_on": hold.review_on.isoformat(),
        "due_for_review": hold.is_due(localdate(clock.now())),
        "released_at": hold.released_at.isoformat() if hold.released_at else None,
        "released_by": hold.released_by,
        "release_approved_by": hold.release_approved_by,
        "release_reason": hold.release_reason,
        "requests": [_document_of_request(one) for one in hold.releases.all()],
    }


def _document_of_request(asked: HoldReleaseRequest) -> dict[str, Any]:
    return {
        "request": asked.pk,
        "state": State(asked.state).value,
        "why": asked.why,
        "requested_by": asked.requested_by.get_username(),
        "approved_by": asked.approved_by.get_username() if asked.approved_by else None,
    }
