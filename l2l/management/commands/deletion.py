"""`manage.py deletion STEP CUSTOMER`: the end of a customer at the command line, by the same verbs as in the admin (P10 to P12)."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.files import File
from django.core.management.base import CommandError, CommandParser

from audit import actors, canonical, clock
from audit.commands import BackOfficeCommand, read_password
from audit.people import at_the_command_line
from backups import vault as vaults
from backups.destroy import carrying_out as destruction
from backups.destroy import certificate_pdf, planning
from backups.errors import BackupError
from backups.models import Certificate, DestructionTry, ReturnWork
from backups.returning import carrying_out as returning
from backups.returning import encrypting, freezing
from backups.stores.contract import StoreError
from l2l.admin.ending_path import due_words, turn_of
from l2l.door import links
from subscriptions.ending import approving, receipts, requests, returns
from subscriptions.ending import clock as clocks
from subscriptions.ending.states import WORDS, State
from subscriptions.models import Customer, DataReturn, DeemedReceiptRequest, DeletionRequest

SEES = "l2l_subscriptions.view_deletionrequest"
# What each step takes beside the customer: needed, and allowed.
TAKES: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "request": (frozenset({"why"}), frozenset()),
    "waive": (frozenset({"why", "document"}), frozenset()),
    "build-return": (frozenset(), frozenset({"encrypt_to"})),
    "link": (frozenset(), frozenset()),
    "fault": (frozenset({"why", "name"}), frozenset({"encrypt_to"})),
    "acknowledge": (frozenset({"name", "how", "sha256"}), frozenset({"at"})),
    "deemed": (frozenset(), frozenset({"why", "document"})),
    "plan": (frozenset(), frozenset({"out"})),
    "approve": (frozenset({"why", "plan"}), frozenset()),
    "take-back": (frozenset({"why"}), frozenset()),
    "cancel": (frozenset({"why"}), frozenset()),
    "destroy": (frozenset(), frozenset()),
    "certificate": (frozenset({"out"}), frozenset()),
    "status": (frozenset(), frozenset()),
}
# Looks, and what the worker and the destroyer do: nobody decides anything by these.
WITHOUT_PERSON = frozenset({"plan", "destroy", "certificate", "status"})


class Command(BackOfficeCommand):
    help = (
        "The end of a customer in steps: request, build-return, link, acknowledge (or waive), plan, approve, destroy. 'status' says "
        "how far it is and whose turn it is. Ends with 0 only if the step is done; 'destroy' only when everything is gone."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("step", choices=list(TAKES), metavar="STEP", help=" | ".join(TAKES))
        parser.add_argument("customer", metavar="CUSTOMER", help="short code")
        parser.add_argument("--why", metavar="TEXT", help="stands in the customer's file for good; for 'fault': what is wrong")
        parser.add_argument("--name", metavar="TEXT", help="who at the customer verified the package, or reported the fault")
        parser.add_argument("--how", metavar="TEXT", help="how it was verified")
        parser.add_argument("--sha256", metavar="DIGEST", help="of the file that the customer has, as it told you")
        parser.add_argument("--at", type=_moment, metavar="TIME", help="when it was verified, with a zone; now when left out")
        parser.add_argument("--document", type=Path, metavar="FILE", help="the waiver, or the proof that notice was given")
        parser.add_argument("--encrypt-to", metavar="RECIPIENT", help="the customer's own age recipient")
        parser.add_argument("--plan", metavar="DIGEST", help="of the plan that you looked at ('deletion plan CUSTOMER')")
        parser.add_argument(
            "--out", type=Path, metavar="FILE", help="a new file: for the whole plan, with every name, or for the certificate"
        )
        parser.add_argument("--as", metavar="USER", dest="user", help="who does this")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")

    def work(self, *, step: str, customer: str, **options: Any) -> None:
        _check_options(step, options)
        chosen = Customer.objects.all().by_code(customer)
        if step in WITHOUT_PERSON:
            with actors.acting(actors.of_shell("deletion", reason="the end of a customer")):
                looks = {"plan": self._plan, "destroy": self._destroy, "certificate": self._certificate, "status": self._status}
                looks[step](chosen, options)
            return
        options["password"] = read_password(options["password_file"])
        with actors.acting(actors.of_shell("deletion")):
            user = at_the_command_line(options["user"], options["password"], SEES)
        acts: dict[str, Callable[[Customer, Any, dict[str, Any]], None]] = {
            "request": self._request,
            "waive": self._waive,
            "build-return": self._build_return,
            "link": self._link,
            "fault": self._fault,
            "acknowledge": self._acknowledge,
            "deemed": self._deemed,
            "approve": self._approve,
            "take-back": self._take_back,
            "cancel": self._cancel,
        }
        with actors.acting(actors.of_user(user, source="deletion")):
            acts[step](chosen, user, options)

    # What people decide

    def _request(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        self._tell(requests.open_request(customer, by=user, why=options["why"], now=clock.now()))

    def _waive(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        with options["document"].open("rb") as file:
            document = File(file, options["document"].name)
            self._tell(requests.waive(_ending(customer), by=user, document=document, why=options["why"], now=clock.now()))

    def _build_return(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        """Begins the return where it has not begun, and makes the package here and now."""
        ending, now = _ending(customer), clock.now()
        if options["encrypt_to"] is not None:
            encrypting.choose(ending, options["encrypt_to"], by=user)
        if ending.state != State.RETURNING:
            ending = returns.begin(ending, by=user, now=now)
        freezing.keep_frozen()
        returning.look(now)
        work = ReturnWork.objects.get(request=ending)
        done = returning.carry_out(vaults.from_settings(), work.pk, progress=self.progress())
        self._tell(_ending(customer))
        if done is None or done.state != ReturnWork.State.DONE:
            trouble = done.trouble if done is not None else "Another process is at work on it: 'deletion status' says how far it is."
            raise CommandError(f"The package is not made yet. {trouble}")

    def _link(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        if not user.has_perm("l2l_subscriptions.return_deletionrequest"):
            raise CommandError(f"{user} may not make a link: it needs the right l2l_subscriptions.return_deletionrequest.")
        if not Customer.objects.visible_to(user).filter(pk=customer.pk).exists():
            raise CommandError(f"{user} may not make a link: it is not a customer of theirs.")
        address, until = links.link_to(_package(customer), now=clock.now())
        lines = [address, f"It works until {until:%Y-%m-%d %H:%M} UTC, for everybody who has it."]
        if address.startswith("/"):
            lines.append("Put the address of the back office before it, or set L2L_ADDRESS (.env.example).")
        self.report(lines, {"customer": customer.code, "link": address, "until": until.isoformat()})

    def _fault(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        if options["encrypt_to"] is not None:
            encrypting.choose(_ending(customer), options["encrypt_to"], by=user)
        about = {"what": options["why"], "by_name": options["name"], "by": user}
        self._tell(returns.report_fault(_package(customer), **about, now=clock.now()))

    def _acknowledge(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        now = clock.now()
        about = {"package_sha256": options["sha256"], "verified_by": options["name"], "how": options["how"], "by": user}
        receipts.acknowledge(_package(customer), **about, verified_at=options["at"] or now, now=now)
        self._tell(_ending(customer))

    def _deemed(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        """The first of two asks, with the proof of notice; the second approves what was asked for."""
        package, now = _package(customer), clock.now()
        asked = DeemedReceiptRequest.objects.filter(data_return=package, state="requested").first()
        if asked is not None and options["document"] is None:
            receipts.approve_deemed(asked, by=user, password=options["password"], now=now)
        elif options["document"] is None or options["why"] is None:
            raise CommandError("It lacks --document (the proof that notice was given) and --why; the second approver gives neither.")
        else:
            with options["document"].open("rb") as file:
                notice = File(file, options["document"].name)
                receipts.ask_deemed(package, by=user, notice=notice, why=options["why"], now=now)
        self._tell(_ending(customer))

    def _approve(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        about = {"seen": options["plan"], "by": user, "password": options["password"], "code": customer.code, "why": options["why"]}
        self._tell(planning.approve(vaults.from_settings(), _ending(customer), **about, now=clock.now()))

    def _take_back(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        self._tell(approving.take_back(_ending(customer), by=user, why=options["why"], now=clock.now()))

    def _cancel(self, customer: Customer, user: Any, options: dict[str, Any]) -> None:
        self._tell(requests.cancel(_ending(customer), by=user, why=options["why"], now=clock.now()))

    # What anybody at the machine may look at, and what the destroyer does

    def _plan(self, customer: Customer, options: dict[str, Any]) -> None:
        """The dry run, and the digest that an approval names."""
        plan = planning.plan_of(vaults.from_settings(), _ending(customer), self.progress())
        if options["out"] is not None:
            with options["out"].open("xb") as file:
                file.write(canonical.dump_bytes(plan.document))
        lines = [f"{count:>10,}  {size:>14,} bytes  {what}, {where}" for what, where, count, size in plan.summary()]
        waits = [*plan.waits, *(f"a legal hold of {hold.holder} is open" for hold in plan.holds)]
        lines += [*(f"It cannot be approved yet: {wait}." for wait in waits), f"plan {plan.digest}"]
        summary = [{"what": what, "where": where, "count": count, "bytes": size} for what, where, count, size in plan.summary()]
        self.report(
            lines, {"customer": customer.code, "plan": plan.digest, "goes": summary, "stays": plan.document["stays"], "waits": waits}
        )

    def _destroy(self, customer: Customer, options: dict[str, Any]) -> None:
        """One look of the destroyer at this customer: begins what has cooled off, goes on with what has begun, lists every place again."""
        before = _ending(customer)
        if before.state not in (State.APPROVED, State.DESTROYING, State.DESTROYED):
            raise CommandError(f"{customer.code} is {before.state}: {WORDS[State(before.state)]}. Only what is approved is destroyed.")
        vault = vaults.from_settings()
        report = destruction.look(vault, vault.clock(), only=[customer.pk], progress=self.progress())
        ending = _ending(customer)
        self._tell(ending)
        if reasons := report.void.get(customer.code):
            raise CommandError(
                f"The approval holds no more, and nothing was destroyed: {'; '.join(reasons)}. Look at the plan, approve anew."
            )
        if trouble := report.troubles.get(customer.code):
            raise CommandError(f"Not everything is gone: {trouble}")
        if ending.state == State.APPROVED:
            raise CommandError(turn_of(ending, clock.now()).what)
        if ending.state != State.DESTROYED:
            raise CommandError("It is not certified yet: every place is listed again 24 hours after the last step. Run it again then.")

    def _certificate(self, customer: Customer, options: dict[str, Any]) -> None:
        """What was issued last, as the signed JSON that counts, and beside it on paper (.pdf). Neither replaces a file."""
        ending = _ending(customer)
        newest = Certificate.objects.filter(request=ending).order_by("-number").first()
        if newest is None:
            raise CommandError(f"Nothing was certified or stated of {customer.code} yet: it is {ending.state}.")
        out: Path = options["out"]
        paper = out.with_suffix(".pdf")
        if out == paper:
            raise CommandError("Give the JSON a name that does not end in .pdf: the PDF is written beside it.")
        if taken := [str(path) for path in (out, paper) if path.exists()]:
            raise CommandError(f"{' and '.join(taken)} exists already: give another name. Nothing was written.")
        on_paper = certificate_pdf.of_text(newest.document)
        for path, data in ((out, newest.document.encode()), (paper, on_paper)):
            with path.open("xb") as file:
                file.write(data)
        about = {"kind": newest.kind, "number": newest.number, "sha256": newest.sha256, "json": str(out), "pdf": str(paper)}
        words = f"{newest.get_kind_display()} {newest.number}, SHA-256 {newest.sha256}: {out} (the authority) and {paper}."
        self.report([words, f"Anybody checks it with: manage.py verify_certificate {out} --fingerprint HEX"], about)

    def _status(self, customer: Customer, options: dict[str, Any]) -> None:
        self._tell(_ending(customer))

    def _tell(self, ending: DeletionRequest) -> None:
        self.report(_lines(ending), _document(ending))


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no time. Write it like 2026-11-24T12:00:00+00:00.") from None
    if found.tzinfo is None:
        raise ArgumentTypeError(f"{text!r} has no zone. Write it like 2026-11-24T12:00:00+00:00.")
    return found


def _check_options(step: str, options: dict[str, Any]) -> None:
    """`CommandError` for what lacks, and for what the step would not look at."""
    needed, allowed = TAKES[step]
    given = {name for name in frozenset().union(*(one | two for one, two in TAKES.values())) if options[name] is not None}
    if lacking := needed - given:
        raise CommandError(f"It lacks {_options(lacking)}.")
    if unused := given - needed - allowed:
        raise CommandError(f"{_options(unused)}: not for '{step}'.")
    if step not in WITHOUT_PERSON and not (options["user"] and options["password_file"]):
        raise CommandError("Say who does this: --as USER --password-file FILE.")


def _options(names: Any) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in sorted(names))


def _ending(customer: Customer) -> DeletionRequest:
    """The customer's newest request; of several the one that is not cancelled."""
    found = list(DeletionRequest.objects.filter(customer=customer).select_related("customer").order_by("-requested_at"))
    if not found:
        raise CommandError(f"{customer.code} does not end: nobody asked for it. 'deletion request {customer.code}' does.")
    return next((one for one in found if one.state != State.CANCELLED), found[0])


def _package(customer: Customer) -> DataReturn:
    found = returns.current(_ending(customer))
    if found is None:
        raise CommandError(f"There is no package of {customer.code}: 'deletion status {customer.code}' says where it is.")
    return found


def _lines(ending: DeletionRequest) -> list[str]:
    now, package = clock.now(), returns.current(ending)
    turn, (due, _) = turn_of(ending, now), due_words(ending, clocks.of(ending, now), now)
    lines = [f"{ending.customer.code}: {ending.state}: {WORDS[State(ending.state)]}"]
    lines += [f"  whose turn: {turn.who}. {turn.what}"] if ending.is_open else []
    lines += [f"  {due}"] if due else []
    lines += [f"  package {package.number}: {package.path}, SHA-256 {package.package_sha256}"] if package and not package.removed_at else []
    look = DestructionTry.objects.filter(pk=ending.pk).first()
    lines += [f"  trouble: {look.trouble}"] if look is not None and look.trouble and ending.is_open else []
    return [*lines, *(f"  {one.get_kind_display()} {one.number}: SHA-256 {one.sha256}" for one in _certificates(ending))]


def _document(ending: DeletionRequest) -> dict[str, Any]:
    now, package = clock.now(), returns.current(ending)
    stands = clocks.of(ending, now)
    return {
        "customer": ending.customer.code,
        "request": ending.pk,
        "state": ending.state,
        "turn": turn_of(ending, now).who,
        "requested_by": ending.requested_by.get_username() if ending.requested_by else None,
        "approved_by": ending.approved_by.get_username() if ending.approved_by else None,
        "plan": ending.plan_digest or None,
        "acknowledged_at": _iso(ending.acknowledged_at),
        "due_at": _iso(stands.due_at) if stands else None,
        "paused": stands.paused if stands else False,
        "overdue": stands.overdue if stands and ending.is_open else False,
        "may_begin_at": _iso(ending.may_begin_at),
        "begun_at": _iso(ending.begun_at),
        "destroyed_at": _iso(ending.destroyed_at),
        "package": _package_document(package) if package else None,
        "certificates": [{"kind": one.kind, "number": one.number, "sha256": one.sha256} for one in _certificates(ending)],
    }


def _package_document(package: DataReturn) -> dict[str, Any]:
    return {
        "number": package.number,
        "path": package.path if package.removed_at is None else None,
        "file_name": package.file_name,
        "sha256": package.package_sha256,
        "manifest_sha256": package.manifest_sha256,
        "size": package.size,
        "encrypted_to": package.encrypted_to or None,
        "delivered_at": _iso(package.delivered_at),
        "counts": package.counts,
    }


def _certificates(ending: DeletionRequest) -> Any:
    return Certificate.objects.filter(request=ending).defer("document").order_by("number")


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
