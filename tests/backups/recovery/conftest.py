"""A service whose machine burns: the database empty again, the uploads gone, one location left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from audit.registry import SYSTEM_STREAM
from backups import locations
from backups.models import BackupSet
from backups.nightly import back_up
from backups.recovery import carrying_out
from backups.recovery.carrying_out import Report
from backups.vault import Vault
from tests.backups.prune.conftest import nights, policy  # noqa: F401  (fixtures)
from tests.backups.purge.conftest import aged, people, purged  # noqa: F401  (fixtures)
from tests.backups.recovery.contents import content_of  # noqa: F401  (asked for here)

Recovered = Callable[..., Report]


def without_new(after: dict[str, list[str]], before: dict[str, list[str]]) -> dict[str, list[str]]:
    """What was there before, of what is there now: the system stream has gone on since."""
    return {part: [line for line in lines if line in set(before[part])] for part, lines in after.items()}


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_a_set(vault: Vault, *customers: Any) -> list[BackupSet]:
    """A set of each of these, and one of the system stream behind them."""
    streams = [*(customer.pk for customer in customers), SYSTEM_STREAM]
    from audit.models import Stream

    return [back_up(vault, Stream.objects.get(pk=stream), workers=0).backup_set for stream in streams]


@pytest.fixture
def burn(uploads: Path) -> Callable[[], None]:
    """The database and the uploads are gone."""

    def gone() -> None:
        call_command("flush", verbosity=0, interactive=False)
        shutil.rmtree(uploads, ignore_errors=True)

    return gone


@pytest.fixture
def recovered(vault: Vault) -> Recovered:
    """Recovers in this process, as the command does, from the places of that vault; the offsite location alone by default."""

    def recover(*names: str, accept: tuple[str, ...] = (), first: str = "") -> Report:
        names = names or ("offsite",)
        stores = {place.name: place.store for place in vault.places if place.name in names}
        named = [locations.Named(name, store.url, name != "primary") for name, store in stores.items()]
        found = locations.sync_locations(named)
        places = tuple(locations.Place(row, stores[row.name]) for row in found)
        with_rows = carrying_out.ordered(replace(vault, places=places), first or names[0])
        return carrying_out.recover(with_rows, first or names[0], accept=accept)

    return recover


def vault_of(vault: Vault, *names: str) -> Vault:
    """The vault with the places of these names, under the rows that the recovered database has."""
    from backups.models import Location

    known = {row.name: row for row in Location.objects.all()}
    return replace(vault, places=tuple(replace(place, location=known[place.name]) for place in vault.places if place.name in names))


def shown(report: Report) -> dict[str, Any]:
    return {report.names[one.pk]: one.state for one in report.streams} | {"stopped": report.stopped}


def forged(path: Path) -> None:
    """The same document, signed by somebody else."""
    from audit.signing import Signer, new_secret

    document = json.loads(path.read_text())
    for name in ("signature", "signed_by"):
        document.pop(name)
    path.write_text(json.dumps(Signer(new_secret()).sign(document)))
