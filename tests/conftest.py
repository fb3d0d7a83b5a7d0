"""What every test may ask for: people, a customer, content. Rows are real, on a real database file or server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import audit
from tests import templates

# Whole files that take long and that a change seldom breaks alone: they run with the slow tests.
LATER = (
    "tests/admin/test_finding.py",
    "tests/admin/test_kept.py",
    "tests/admin/test_live_restores.py",
    "tests/admin/test_past_term.py",
    "tests/admin/test_terms.py",
    "tests/admin/test_timeline.py",
    "tests/admin/test_who_sees_what.py",
    "tests/backups/destroy/test_buckets.py",
    "tests/backups/live_restore/",
    "tests/backups/prune/test_crashes.py",
    "tests/backups/purge/test_command.py",
    "tests/backups/purge/test_proofs.py",
    "tests/backups/purge/test_restores_obey.py",
    "tests/backups/test_hot_removal.py",
    "tests/backups/test_moments.py",
    "tests/backups/test_moments_after_removal.py",
    "tests/backups/test_scratch.py",
    "tests/backups/test_scratch_values.py",
    "tests/l2l/test_serving.py",
    "tests/l2l/test_verify_audit.py",
    "tests/stores/test_contract.py",
)
# Their subject is how PostgreSQL is read.
LATER_ON_SQLITE = ("tests/backups/test_copying.py", "tests/backups/test_snapshot.py")
# What asks the database for little that SQLite does not answer alike.
LATER_ON_POSTGRESQL = (
    "tests/admin/",
    "tests/audit/test_access.py",
    "tests/audit/test_two_person.py",
    "tests/backups/destroy/",
    "tests/backups/ledger/",
    "tests/backups/prune/",
    "tests/backups/purge/",
    "tests/backups/test_any_second.py",
    "tests/backups/test_commands.py",
    "tests/backups/test_coverage.py",
    "tests/backups/test_figures.py",
    "tests/backups/test_finding.py",
    "tests/backups/test_format.py",
    "tests/backups/test_hotbackup.py",
    "tests/backups/test_locations.py",
    "tests/backups/test_proof.py",
    "tests/backups/test_restore.py",
    "tests/backups/test_shipper.py",
    "tests/backups/test_simulation.py",
    "tests/backups/returning/",
    "tests/backups/verification/",
    "tests/door/",
    "tests/l2l/",
    "tests/policy/",
    "tests/subscriptions/ending/",
    "tests/subscriptions/test_hold_command.py",
    "tests/subscriptions/test_import_content.py",
    "tests/subscriptions/test_term_requests.py",
    "tests/subscriptions/test_terms.py",
    "tests/subscriptions/test_terms_command.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    on_postgresql = os.environ.get("DATABASE_URL", "").startswith("postgres")
    later = LATER + (LATER_ON_POSTGRESQL if on_postgresql else LATER_ON_SQLITE)
    for item in items:
        if item.path.relative_to(config.rootpath).as_posix().startswith(later):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """A database of its own for each run and worker: a copy of one that was migrated before."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    test = database.setdefault("TEST", {})
    if not database["ENGINE"].endswith("sqlite3"):
        test["TEMPLATE"] = templates.on_server(os.environ["DATABASE_URL"])
        yield
        return
    folder = Path(settings.L2L_HOME) / "databases"
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{uuid.uuid4().hex[:8]}.sqlite3"
    templates.copy_to(made, templates.TESTS)
    test["NAME"] = str(made)
    yield
    made.unlink()


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_keepdb: bool) -> bool:
    """A file that is there is taken as it is; a server's database is made, and removed."""
    return django_db_keepdb or not os.environ.get("DATABASE_URL", "").startswith("postgres")


@pytest.fixture(scope="session", autouse=True)
def static_folder() -> None:
    """As `init` makes it; WhiteNoise warns of a folder that is not there."""
    from django.conf import settings

    Path(settings.STATIC_ROOT).mkdir(parents=True, exist_ok=True)


@pytest.fixture(autouse=True)
def uploads(tmp_path: Path, settings: Any) -> Path:
    """Every test has an upload folder of its own."""
    folder = tmp_path / "uploads"
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "audit.files.DurableFolderStorage", "OPTIONS": {"location": str(folder)}},
    }
    return folder


@pytest.fixture
def acting() -> Iterator[Any]:
    """Somebody acts: Ada, for the length of the test."""
    with audit.acting("ada", reason="a test", source="test") as who:
        yield who


@pytest.fixture
def acme(acting: Any, db: None) -> Any:
    """A customer."""
    from subscriptions.onboarding import add_customer

    return add_customer("acme", "Acme Bicycles", start=date(2026, 1, 1))


@pytest.fixture
def acme2(acting: Any, db: None) -> Any:
    """A neighbour whose code begins alike."""
    from subscriptions.onboarding import add_customer

    return add_customer("acme2", "Acme Two", start=date(2026, 1, 1))
