"""`manage.py find CUSTOMER TEXT [--in-sets]`: an item in the live data, in history and in the sets, with its versions."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand
from audit.moments import in_utc_to_the_second
from backups import vault as vaults
from backups.choosing import UnknownCustomer, customer_called
from backups.errors import BackupError
from backups.finding import Found, Item, Version, find, find_in_sets
from backups.manifest import BadManifest
from backups.stores.contract import StoreError

WORDS = {"+": "added", "~": "changed", "-": "deleted"}


class Command(BackOfficeCommand):
    help = "Finds items by their reference or any text in their values, with their versions and where these stand."
    known = (BackupError, StoreError, BadManifest)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="short code, or the id when this database does not know the customer")
        parser.add_argument("text", metavar="TEXT", help="a reference, or any text that stands or stood in the item")
        parser.add_argument("--in-sets", action="store_true", help="read the sets at the locations too: for what history does not know")

    def work(self, *, customer: str, text: str, in_sets: bool, **options: Any) -> None:
        if not text.strip():
            raise CommandError("Say what to look for: a reference, or any text that stands in the item.")
        whose = customer_called(customer)
        with actors.acting(actors.of_shell("find")):
            if in_sets or isinstance(whose, UnknownCustomer):
                found = find_in_sets(vaults.from_settings(), whose.pk, text, progress=self.progress())
            else:
                found = find(whose.pk, text)
        self.report(_lines(found, customer), _document(found))
        if not found.items:
            raise CommandError(f"Nothing of {customer} is or was called {text!r}, nor is it in any text of its items.{_what_next(in_sets)}")


def _what_next(in_sets: bool) -> str:
    return "" if in_sets else " --in-sets also reads the sets at the locations."


def _lines(found: Found, customer: str) -> list[str]:
    lines = [line for one in found.items for line in _item_lines(one, customer)]
    more = ["There are more: a longer text finds fewer."] if found.more else []
    return [*lines, *more, *(f"Note: {note}" for note in found.notes)]


def _item_lines(one: Item, customer: str) -> list[str]:
    head = f"{one.only}  {'live' if one.live else 'deleted'}  restore {customer} --only '{one.only}' --to FOLDER"
    return [head, *(f"  {_version(version)}" for version in one.versions), *(["  … and older versions"] if one.more else [])]


def _version(one: Version) -> str:
    number = f"change {one.number}" if one.number else f"history {one.history_id}"
    why = f" ({one.why})" if one.why else ""
    return f"{number}  {in_utc_to_the_second(one.at)}  {WORDS[one.kind]} by {one.who}{why}  {_where(one)}"


def _where(one: Version) -> str:
    shipped = f"segment {one.segment}" if one.segment else ("not shipped yet" if not one.sets else "")
    held = f"{len(one.sets)} sets, the newest of {one.sets[0].night}" if one.sets else "no set with its number yet"
    return ", ".join(word for word in (shipped, held) if word)


def _document(found: Found) -> dict[str, Any]:
    return {"items": [_item(one) for one in found.items], "more": found.more, "notes": list(found.notes)}


def _item(one: Item) -> dict[str, Any]:
    return {
        "model": one.model,
        "key": one.key,
        "reference": one.reference,
        "live": one.live,
        "more": one.more,
        "versions": [
            {
                "number": version.number,
                "history_id": version.history_id,
                "at": version.at.isoformat(),
                "who": version.who,
                "why": version.why,
                "kind": WORDS[version.kind],
                "reference": version.reference,
                "segment": version.segment,
                "sets": [held.id for held in version.sets],
            }
            for version in one.versions
        ],
    }
