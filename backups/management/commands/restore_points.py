"""`manage.py restore_points CUSTOMER`: the sets to restore from, as the locations themselves show them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from audit.commands import BackOfficeCommand
from backups import vault as vaults
from backups.choosing import customer_called
from backups.errors import BackupError, NoLocation
from backups.reading import FoundSet, find_sets
from backups.stores.contract import StoreError


class Command(BackOfficeCommand):
    help = "Lists a customer's sets, newest first, with the locations that have them. Reads the locations, not the catalogue."
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customer", metavar="CUSTOMER", help="short code, or the id when this database does not know the customer")

    def work(self, *, customer: str, **options: Any) -> None:
        whose = customer_called(customer)
        vault = vaults.from_settings()
        places, troubles = vault.usable()
        if not places:
            raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
        notes = [f"{name} cannot be used ({why})" for name, why in troubles.items()]
        sets = find_sets(places, str(whose.pk), vault.fingerprint, notes)
        lines = [_line(one) for one in sets] or [f"No sets yet: 'manage.py backup {customer}' makes one."]
        self.report([*lines, *(f"Note: {note}" for note in notes)], {"sets": [_document(one) for one in sets], "notes": notes})


def _line(one: FoundSet) -> str:
    counts = one.envelope["counts"]
    return (
        f"{one.id[:8]}  night of {one.envelope['night']}  state at {one.snapshot_at:%Y-%m-%d %H:%M:%S %Z}  "
        f"{counts['rows']:,} rows, {counts['files']:,} files  at {', '.join(one.places)}"
    )


def _document(one: FoundSet) -> dict[str, Any]:
    wanted = ("set", "night", "snapshot_at", "counts", "software", "schema")
    return {name: one.envelope[name] for name in wanted} | {"locations": list(one.places)}
