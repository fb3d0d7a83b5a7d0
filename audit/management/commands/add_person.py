from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

import audit
from audit import actors, clock
from audit.commands import BackOfficeCommand, read_password
from audit.models import Grant
from audit.people import add_person
from audit.roles import Role, by_word


class Command(BackOfficeCommand):
    help = "Adds a person with a role, or gives a known person a further role. A role may approve things from its second day on."
    known = (clock.ClockRefused,)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("name", metavar="NAME", help="the name to sign in with")
        parser.add_argument("--role", required=True, metavar="ROLE", help=", ".join(role.word for role in Role))
        parser.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password; mode 0600")
        parser.add_argument("--since", type=datetime.fromisoformat, metavar="DATE", help="since when; in a sample home only")
        parser.add_argument("--reason", default="added at the command line", metavar="TEXT")

    def work(self, *, name: str, role: str, password_file: Path | None, since: datetime | None, reason: str, **options: Any) -> None:
        with audit.acting(actors.of_shell("add_person")):
            grant = add_person(
                name,
                _role(role),
                password=read_password(password_file) if password_file else None,
                since=since if since is None or since.tzinfo else since.replace(tzinfo=UTC),
                now=clock.now(),
                reason=reason,
            )
        self.report(_lines(grant), _document(grant))


def _role(word: str) -> Role:
    try:
        return by_word(word)
    except ValueError as problem:
        raise CommandError(str(problem)) from None


def _lines(grant: Grant) -> list[str]:
    told = [f"{grant.user} is {grant.role} since {grant.since:%Y-%m-%d %H:%M} UTC."]
    if not grant.user.has_usable_password():
        told.append(f"Set a password before they can sign in: manage.py changepassword {grant.user}")
    return told


def _document(grant: Grant) -> dict[str, Any]:
    return {
        "person": grant.user.get_username(),
        "id": grant.user.pk,
        "role": Role(grant.role).word,
        "since": grant.since.isoformat(),
        "can_sign_in": grant.user.has_usable_password(),
    }
