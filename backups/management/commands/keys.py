"""`manage.py keys ...`: where each key lies and who can open it; recipients, masters, drills, kits (design section 5)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand, read_password
from audit.models import Stream
from audit.moments import in_utc
from audit.people import at_the_command_line
from audit.states import State
from audit.two_person import cancel, refuse
from backups import keyfiles
from backups import vault as vaults
from backups.errors import BackupError
from backups.keys import drilling, former, keeping, listing, new_kit, recorded, renewing, requests, retired, rewrapping
from backups.keys.listing import ListedKey
from backups.keys.requests import NOT_UNDONE, Deed
from backups.keys.rewrapping import Wrapped
from backups.keys.switching import holder_of, read_identity
from backups.models import EscrowDrill, KeyChangeRequest
from backups.stores.contract import StoreError

ASKS = {
    Deed.ADD: "asks that a further recipient can open every customer's key; give the public half alone",
    Deed.REMOVE: "asks that keys are wrapped for a recipient no longer",
    Deed.ROTATE: "asks for a new online master key",
    Deed.REPLACE: "asks for a new online master key when the one in force is lost; a recipient's secret half opens the keys",
}
VIEWS = KeyChangeRequest.permission("view")


class Command(BackOfficeCommand):
    help = (
        "Lists where each customer's key lies, for whom it is wrapped and what losing it loses; changes who can open them (two people), "
        "drills the escrow key, makes recovery kits."
    )
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
        list_keys = _step(steps, "list", "where each copy of each key lies, who can open it, what needs it")
        list_keys.add_argument("customers", nargs="*", metavar="CUSTOMER", help="short codes; all when none is named")
        list_keys.add_argument("--read", action="store_true", help="read and open every copy now (always done for a named customer)")
        for deed, text in ASKS.items():
            _asks(_step(steps, deed.value, text, person=True), deed)
        approve = _step(steps, "approve", "approves a request, and carries it out", person=True)
        carry_out = _step(steps, "carry-out", "carries an approved request out", person=True)
        for one in (approve, carry_out):
            one.add_argument("request", type=int, metavar="ID")
            _secret(one)
        for name in ("refuse", "cancel"):
            ends = _step(steps, name, f"{name}s a request", person=True)
            ends.add_argument("request", type=int, metavar="ID")
            _reason(ends)
        _secret(_step(steps, "wrap", "wraps what is not wrapped for the key ring in force, as the worker does hourly"))
        _step(steps, "remove-former", "removes former wrappings where the new one is, as the destroyer does hourly")
        drill = _step(steps, "drill-escrow", "opens keys and objects with a recipient's secret half alone, and records it", person=True)
        drill.add_argument("--identity-file", type=Path, required=True, metavar="FILE", help="mode 0600; it is written nowhere")
        drill.add_argument("--sample", type=_count, metavar="N", help="so many keys, drawn; every key when left out")
        kit = _step(steps, "new-kit", "writes a recovery kit for the key ring in force", person=True)
        _secret(kit)
        _reason(kit)
        _reason(_step(steps, "destroy-retired", "destroys retired masters on this machine once nothing needs them", person=True))
        renew = _step(steps, "renew-stream", "gives a customer the next key, for all that comes from now on", person=True)
        renew.add_argument("customer", metavar="CUSTOMER", help="short code")
        _reason(renew)

    def work(self, *, step: str, **options: Any) -> None:
        steps: dict[str, Callable[[dict[str, Any]], None]] = {
            "list": self._list,
            **{deed.value: self._asking(deed) for deed in ASKS},
            "approve": self._approve,
            "carry-out": self._carry_out,
            "refuse": self._end,
            "cancel": self._end,
            "wrap": self._wrap,
            "remove-former": self._remove_former,
            "drill-escrow": self._drill,
            "new-kit": self._new_kit,
            "destroy-retired": self._destroy_retired,
            "renew-stream": self._renew,
        }
        self.step = step
        steps[step](options)

    # Looking

    def _list(self, options: dict[str, Any]) -> None:
        chosen = [_stream(code) for code in options["customers"]]
        now, ring = vaults.clock(), recorded.newest()
        keys, reads = listing.listed(chosen or list(Stream.objects.all())), bool(chosen or options["read"])
        if reads:
            vault = vaults.from_settings()
            keys = listing.read(keys, vault.usable()[0], vault.keys)
        due, needed = drilling.due_at(), retired.still_needed(now)
        retired_files = [file.name for file in keyfiles.retired_masters(settings.L2L_KEYS)]
        segments = {one.name: listing.segments_of(one.pk) for one in chosen}
        lines = [
            f"Wrapping {ring.wrapping}, in force since {in_utc(ring.since)}: {', '.join(ring.names)} can open every key.",
            *(f"  online: {ring.online}" if name == "online" else f"  {name}: {dict(ring.recipients)[name]}" for name in ring.names),
            *listing.losses(ring),
            *(line for key in keys for line in _key_lines(key)),
            *(f"{name}: {_segments_words(found)}" for name, found in segments.items()),
            *([] if keys else ["No customer has a key yet: the first backup makes it."]),
            _drill_words(due, now),
            *_retired_words(retired_files, needed),
            *(NOT_UNDONE if ring.wrapping > 1 else ()),
        ]
        document = {
            "wrapping": ring.wrapping,
            "since": ring.since.isoformat(),
            "online": ring.online,
            "recipients": [{"name": name, "recipient": half} for name, half in recorded.recipients_of(ring)],
            "losses": listing.losses(ring),
            "keys": [_key_document(key) for key in keys],
            "segments": {name: {"count": count, "first": first, "last": last} for name, (count, first, last) in segments.items()},
            "drill_due": due.isoformat() if due else None,
            "drill_overdue": drilling.overdue(now),
            "retired": retired_files,
            "retired_needed": needed,
            "not_undone": NOT_UNDONE,
        }
        self.report(lines, document)
        if bad := [trouble for key in keys for trouble in key.troubles]:
            raise CommandError(
                f"{len(bad)} copies are not as they should be, such as {bad[0]}. The next backup puts back what another has."
            )

    # Changing who can open

    def _asking(self, deed: Deed) -> Callable[[dict[str, Any]], None]:
        def ask(options: dict[str, Any]) -> None:
            escrow = _identity(options)
            if escrow is not None:
                holder_of(escrow)  # a wrong one is told before anything is asked
            by, second = self._person(options, KeyChangeRequest.permission("add")), self._second(options)
            name, recipient = options.get("name") or "", options.get("recipient") or ""
            with actors.acting(actors.of_user(by, source="keys")):
                asked = requests.ask(deed, by=by, why=options["reason"], now=vaults.clock(), name=name, recipient=recipient)
            if second is None:
                self.report([_line(asked), f"Another person decides: 'manage.py keys approve {asked.pk}'.", *NOT_UNDONE], _document(asked))
            else:
                person, password = second
                self._approved(asked, person, password, escrow)

        return ask

    def _second(self, options: dict[str, Any]) -> tuple[Any, str] | None:
        if not options["second"]:
            return None
        if not options["second_password_file"]:
            raise CommandError("The second person gives a password too: --second-password-file FILE.")
        password = read_password(options["second_password_file"])
        with actors.acting(actors.of_shell("keys")):
            return at_the_command_line(options["second"], password, KeyChangeRequest.permission("approve")), password

    def _approve(self, options: dict[str, Any]) -> None:
        by = self._person(options, KeyChangeRequest.permission("approve"))
        self._approved(_request(options["request"]), by, read_password(options["password_file"]), _identity(options))

    def _approved(self, asked: KeyChangeRequest, by: Any, password: str, escrow: Any) -> None:
        if escrow is not None:
            holder_of(escrow)
        with actors.acting(actors.of_user(by, source="keys")):
            approved = requests.approve(asked, by=by, password=password, now=vaults.clock())
        if approved.deed == Deed.REPLACE and escrow is None:
            carry = f"'manage.py keys carry-out {approved.pk} --escrow-file FILE'"
            self.report(
                [_line(approved), f"It is done on the machine with the key files, with a recipient's secret half: {carry}."],
                _document(approved),
            )
            return
        self._carried_out(approved, escrow)

    def _carry_out(self, options: dict[str, Any]) -> None:
        by, asked = self._person(options, VIEWS), _request(options["request"])
        if by != asked.requested_by and not by.has_perm(KeyChangeRequest.permission("approve")):
            raise CommandError(f"{by} may not carry this out: who asked for it may, and who may approve it.")
        self._carried_out(asked, _identity(options))

    def _carried_out(self, asked: KeyChangeRequest, escrow: Any) -> None:
        with actors.acting(actors.of_shell("keys", reason=asked.what)):
            done = keeping.carry_out(settings.L2L_KEYS, asked, now=vaults.clock(), escrow=escrow, progress=self.progress())
        asked.refresh_from_db()
        more = [
            "Make a new recovery kit now: 'manage.py keys new-kit'. Until then only the key files and the other recipients open new keys."
        ]
        self._wrapped(done, [_line(asked), *NOT_UNDONE, *more], _document(asked) | {"not_undone": NOT_UNDONE})

    def _end(self, options: dict[str, Any]) -> None:
        by, asked = self._person(options, VIEWS), _request(options["request"])
        end = refuse if self.step == "refuse" else cancel
        with actors.acting(actors.of_user(by, source="keys")):
            ended = end(asked, by=by, why=options["reason"], now=vaults.clock())
        self.report([_line(ended)], _document(ended))

    def _wrap(self, options: dict[str, Any]) -> None:
        escrow = _identity(options)
        if escrow is not None:
            holder_of(escrow)
        with actors.acting(actors.of_shell("keys", reason="keys are wrapped for whom they should be")):
            done = rewrapping.wrap_anew(vaults.from_settings(), escrow=escrow, progress=self.progress())
        self._wrapped(done, [], {})

    def _wrapped(self, done: Wrapped, lines: list[str], document: dict[str, Any]) -> None:
        told = [f"{done.keys:,} keys were wrapped anew and read back (wrapping {done.wrapping})."]
        told += [f"{name} lacks them still and keeps the former wrapping: it is caught up by the backups." for name in sorted(done.owed)]
        told += [f"Not yet: {one}" for one in done.left]
        found = {"wrapping": done.wrapping, "keys": done.keys, "left": done.left, "owed": sorted(done.owed)}
        self.report([*told, *lines], document | found)
        if done.left:
            raise CommandError(
                f"{len(done.left)} keys are not wrapped anew yet: 'manage.py keys wrap' goes on, as the worker does each hour."
            )

    def _remove_former(self, options: dict[str, Any]) -> None:
        with actors.acting(actors.of_shell("keys", reason="keys are wrapped anew")):
            gone = former.remove_former(vaults.from_settings(), progress=self.progress())
        lines = [f"{gone.objects:,} former wrappings are at no location any more.", *(f"Kept: {one}" for one in gone.left)]
        self.report(lines, asdict(gone))
        if gone.left:
            raise CommandError(
                f"{len(gone.left)} former wrappings, or their locations, stand in the way: see above. The destroyer goes on hourly."
            )

    # The escrow key, kits, retired masters, new keys

    def _drill(self, options: dict[str, Any]) -> None:
        by, identity = self._person(options, drilling.DRILLS), read_identity(options["identity_file"])
        made = drilling.drill(
            vaults.from_settings(), identity, by=by, now=vaults.clock(), sample=options["sample"], progress=self.progress()
        )
        words = f"{made.keys:,} keys: {made.opened:,} copies opened, {made.objects_opened:,} objects opened"
        words += f", {made.failed:,} failed, {made.missing:,} could not be tried"
        lines = [f"Drill of {made.recipient} by {made.drilled_by}: {made.get_result_display()}. {words}.", *made.detail.splitlines()]
        self.report(lines, _drill_document(made))
        if made.result != EscrowDrill.Result.PASSED:
            raise CommandError("The drill did not pass: see above. It is recorded; mend what it names and drill again.")

    def _new_kit(self, options: dict[str, Any]) -> None:
        by, escrow = self._person(options, retired.OPERATES), _identity(options)
        path = new_kit.make_kit(settings.L2L_KEYS, by=by, why=options["reason"], now=vaults.clock(), escrow=escrow)
        lines = [
            f"The recovery kit was written to {path}. Store it in two places away from this machine, then delete it here.",
            "It has the escrow key." if escrow else "It lacks the escrow key's secret half, which stands in the first kit: keep that too.",
        ]
        self.report(lines, {"path": str(path), "escrow": escrow is not None})

    def _destroy_retired(self, options: dict[str, Any]) -> None:
        by = self._person(options, retired.OPERATES)
        files = retired.destroy(settings.L2L_KEYS, by=by, why=options["reason"], now=vaults.clock())
        self.report([f"Destroyed: {', '.join(files)}." if files else "No retired master key lies here.", *NOT_UNDONE], {"destroyed": files})

    def _renew(self, options: dict[str, Any]) -> None:
        by, stream = self._person(options, retired.OPERATES), _stream(options["customer"])
        done = renewing.renew(vaults.from_settings(), stream, by=by, why=options["reason"])
        lines = [f"{stream.name} has key {done.number}: the next set is sealed under it, segments within ten minutes."]
        if done.older_sets:
            until = (
                f"by what is decided now the last of them goes on {in_utc(done.until)}" if done.until else "retention decides when they go"
            )
            lines.append(f"{done.older_sets:,} sets stay under earlier keys; {until}, later when one is chosen for its week or month.")
        lines += [f"{name} lacks the key still: it is owed to it." for name in done.owed]
        self.report(lines, asdict(done))

    def _person(self, options: dict[str, Any], permission: str) -> Any:
        """Who gave a name and the password."""
        if not options["user"] or not options["password_file"]:
            raise CommandError("Say who does this: --as USER --password-file FILE.")
        with actors.acting(actors.of_shell("keys")):
            return at_the_command_line(options["user"], read_password(options["password_file"]), permission)


def _step(steps: Any, name: str, text: str, *, person: bool = False) -> CommandParser:
    parser: CommandParser = steps.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    if person:
        parser.add_argument("--as", metavar="USER", dest="user", help="who does this")
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")
    return parser


def _asks(parser: CommandParser, deed: Deed) -> None:
    if deed in (Deed.ADD, Deed.REMOVE):
        parser.add_argument("name", metavar="NAME", help="what the recipient is called: one word")
    if deed == Deed.ADD:
        parser.add_argument("--recipient", required=True, metavar="age1…", help="the public half; 'age-keygen -y FILE' prints it")
    if deed == Deed.REPLACE:
        _secret(parser)
    _reason(parser)
    parser.add_argument("--second", metavar="USER", help="who approves it here and now; without it another person does it later")
    parser.add_argument("--second-password-file", type=Path, metavar="FILE", help="that person's password")


def _secret(parser: CommandParser) -> None:
    parser.add_argument("--escrow-file", type=Path, metavar="FILE", help="a recipient's secret half (mode 0600), which is written nowhere")


def _reason(parser: CommandParser) -> None:
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _identity(options: dict[str, Any]) -> Any:
    path = options.get("escrow_file")
    return read_identity(path) if path is not None else None


def _stream(code: str) -> Stream:
    found = Stream.objects.filter(name=code).first()
    if found is None:
        raise CommandError(f"There is no customer {code!r}.")
    return found


def _request(ident: int) -> KeyChangeRequest:
    found = KeyChangeRequest.objects.select_related("requested_by", "approved_by").filter(pk=ident).first()
    if found is None:
        raise CommandError(f"There is no request {ident}.")
    return found


def _line(asked: KeyChangeRequest) -> str:
    done = "done" if asked.state == State.EXECUTED else asked.state
    return f"request {asked.pk}: {asked.what}: {done}, asked by {asked.requested_by}"


def _document(asked: KeyChangeRequest) -> dict[str, Any]:
    return {
        "request": asked.pk,
        "deed": asked.deed,
        "what": asked.what,
        "state": asked.state,
        "requested_by": asked.requested_by.get_username(),
        "approved_by": asked.approved_by.get_username() if asked.approved_by else None,
        "plan_digest": asked.plan_digest,
    }


def _key_lines(key: ListedKey) -> list[str]:
    lines = [
        f"{key.called}: key {key.number}{'' if key.newest else ' (no longer used for new sets)'}; losing it everywhere loses {key.losing}"
    ]
    for one in key.wrappings:
        words = "former wrapping, to be removed" if one.former else "wrapping"
        lines.append(f"  {words} {one.wrapping} for {', '.join(one.opens)} ({one.name})")
        for copy in one.copies:
            when = "read just now" if copy.read else (f"checked {in_utc(copy.checked_at)}" if copy.checked_at else "never checked")
            lines.append(f"    {copy.location}: {copy.state}, {when}")
    return lines


def _key_document(key: ListedKey) -> dict[str, Any]:
    return {
        "stream": str(key.stream),
        "customer": key.called,
        "number": key.number,
        "newest": key.newest,
        "sets": key.sets,
        "first_night": key.first,
        "last_night": key.last,
        "losing": key.losing,
        "wrappings": [asdict(one) for one in key.wrappings],
    }


def _segments_words(found: tuple[int, int, int]) -> str:
    count, first, last = found
    return (
        f"{count:,} segments from {first} to {last} have a section of it" if count else "no segment that is still there has a section of it"
    )


def _drill_words(due: Any, now: Any) -> str:
    if due is None:
        return "No key ring is recorded."
    return f"The escrow drill is {'OVERDUE since' if due < now else 'due on'} {in_utc(due)}: 'manage.py keys drill-escrow'."


def _retired_words(files: list[str], needed: list[str]) -> list[str]:
    if not files:
        return []
    if needed:
        return [f"Retired master keys lie here ({', '.join(files)}) and are still needed: {reason}." for reason in needed]
    return [f"Retired master keys lie here ({', '.join(files)}) and nothing needs them: 'manage.py keys destroy-retired'."]


def _drill_document(made: EscrowDrill) -> dict[str, Any]:
    return {
        "drill": made.pk,
        "recipient": made.recipient,
        "wrapping": made.wrapping,
        "drilled_at": made.drilled_at.isoformat(),
        "drilled_by": made.drilled_by,
        "sample": made.sample,
        "keys": made.keys,
        "opened": made.opened,
        "objects_opened": made.objects_opened,
        "failed": made.failed,
        "missing": made.missing,
        "result": str(made.result),
        "detail": made.detail.splitlines(),
    }
