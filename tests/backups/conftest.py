"""A vault with two folders, keys of its own and a clock that stands still until it is moved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from backups import keyfiles, locations
from backups.locations import Named
from backups.vault import Vault
from tests.backups.targets import ON_POSTGRESQL, Target, database_on, drop_database
from tests.both_databases import postgresql


class Clock:
    """The time, by hand."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    keyfiles.make_key_files(folder, "2026-03-01")
    return folder


@pytest.fixture
def make_vault(key_folder: Path, clock: Clock, tmp_path: Path) -> Callable[..., Vault]:
    """A vault over stores given by name, prepared."""

    def make(**stores: Any) -> Vault:
        rows = locations.sync_locations([Named(name, getattr(store, "url", name), name != "primary") for name, store in stores.items()])
        signer = keyfiles.signer(key_folder)
        for store in stores.values():
            locations.prepare(store, signer, "read me\n", made="2026-03-01", sample=True)
        places = tuple(locations.Place(row, store) for row, store in zip(rows, stores.values(), strict=True))
        return Vault(places, keyfiles.key_ring(key_folder), signer, tmp_path / "spool", clock, software_version="test")

    return make


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    found = {name: tmp_path / "locations" / name for name in ("primary", "offsite")}
    for folder in found.values():
        folder.mkdir(parents=True)
    return found


@pytest.fixture
def vault(make_vault: Callable[..., Vault], folders: dict[str, Path]) -> Vault:
    from backups.stores.folder import FolderStore

    return make_vault(**{name: FolderStore(folder) for name, folder in folders.items()})


@pytest.fixture
def offsite_alone(vault: Vault) -> Vault:
    return replace(vault, places=vault.places[1:])


@pytest.fixture
def acme(transactional_db: None, acting: Any) -> Any:
    """A customer whose rows are committed: backups read on a connection of their own."""
    from datetime import date

    from subscriptions.onboarding import add_customer

    return add_customer("acme", "Acme Bicycles", start=date(2026, 1, 1))


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server: the tests' own, or one started for the occasion."""
    if ON_POSTGRESQL:
        yield os.environ["DATABASE_URL"]
        return
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # else its package warns
        with postgresql() as url:
            yield url


@pytest.fixture
def target(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    """Where to restore to: a new database of the test's `engine`."""
    if engine == "sqlite":
        yield Target(f"sqlite:///{tmp_path / 'out.sqlite3'}")
        return
    server = request.getfixturevalue("postgresql_server")
    made = database_on(server)
    yield made
    drop_database(server, made)
