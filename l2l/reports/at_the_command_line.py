"""What the commands `statement` and `audit_trail` share: the period, the person, the new file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from django.core.management.base import CommandError, CommandParser

from audit import actors, clock
from audit.commands import a_day, read_password
from audit.people import at_the_command_line
from audit.sizes import in_units
from l2l.reports.allowed import SEES
from l2l.reports.making import Made, new_file


def add_arguments(parser: CommandParser, formats: tuple[str, ...]) -> None:
    parser.add_argument("customer", metavar="CUSTOMER", help="short code")
    parser.add_argument("--from", type=a_day, metavar="DATE", dest="first", help="the first day, by the customer's calendar")
    parser.add_argument("--to", type=a_day, metavar="DATE", dest="last", help="the last day; it belongs to the period")
    parser.add_argument("--to-file", type=Path, metavar="FILE", required=True, help="a new file, which only you can read")
    parser.add_argument("--format", choices=formats, help="by the file's ending when left out")
    parser.add_argument("--reason", default="", help="why it is taken; stands in the list of exports")
    parser.add_argument("--as", metavar="USER", dest="user", help="who takes it: limits it to what that person may see")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line; mode 0600")


def format_of(path: Path, chosen: str | None, formats: tuple[str, ...]) -> str:
    ending = path.suffix.lower().removeprefix(".")
    if chosen is None and ending not in formats:
        raise CommandError(f"{path.name} does not say its format: end it with .{', .'.join(formats)}, or give --format.")
    return chosen or ending


def person(command: str, name: str | None, password_file: Path | None) -> Any:
    """The person that the command is run for; None for the one at the shell."""
    if bool(name) != bool(password_file):
        raise CommandError("--as and --password-file belong together.")
    if not name or not password_file:
        return None
    with actors.acting(actors.of_shell(command)):
        return at_the_command_line(name, read_password(password_file), SEES)


def acting(command: str, user: Any, reason: str) -> actors.Acting:
    return actors.of_user(user, reason=reason, source=command) if user is not None else actors.of_shell(command, reason)


def made_at(path: Path, make: Callable[[IO[bytes]], Made]) -> Made:
    """The report, recorded, at that path."""
    with new_file(path.absolute()) as (file, release):
        made = make(file)
        made.hand_over(str(path.absolute()), clock.now(), release, kept=True)
    return made


def lines(made: Made, path: Path) -> list[str]:
    return [
        f"{made.what[0].upper()}{made.what[1:]}",
        f"  SHA-256 {made.written.sha256}",
        f"Written, {in_units(made.written.size)}, to {path}",
    ]


def document(made: Made, path: Path) -> dict[str, Any]:
    return {
        "customer": made.customer.code,
        "file": str(path.absolute()),
        "bytes": made.written.size,
        "sha256": made.written.sha256,
        **{name: value for name, value in made.facts.items() if name != "rows"},
    }
