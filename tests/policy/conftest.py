"""Two customers with content, two locations, the standard policy, and the people of the back office."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.grants import grant_role
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from audit.roles import Role
from backups import policies
from backups.models import BackupPolicy
from backups.vault import Vault
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer
from tests.backups.conftest import Clock, folders, key_folder, make_vault  # noqa: F401  (fixtures)
from tests.backups.test_back_up import fill
from tests.policy.service import Service

BEGAN = datetime(2026, 3, 9, 13, 0, tzinfo=UTC)
ROLES = {
    "ada": Role.ACCOUNT_MANAGER,
    "olga": Role.BACKUP_OPERATOR,
    "oskar": Role.BACKUP_OPERATOR,
    "rita": Role.RECEIPT_APPROVER,
    "anna": Role.ADMINISTRATOR,
    "arno": Role.ADMINISTRATOR,
}


@pytest.fixture
def clock() -> Clock:
    """The afternoon on which the service began. (Rows are written by the database's clock, long after it.)"""
    found = Clock()
    found.now = BEGAN
    return found


@pytest.fixture
def today(clock: Clock) -> Clock:
    """For what goes by the database's clock: the service began just now. Asked for before `service`."""
    clock.now = datetime.now(UTC).replace(microsecond=0)
    return clock


@pytest.fixture
def vault(transactional_db: None, acting: Any, make_vault: Callable[..., Vault], folders: dict[str, Any]) -> Vault:  # noqa: F811
    from backups.stores.folder import FolderStore

    Stream.objects.get_or_create(pk=SYSTEM_STREAM, defaults={"name": "system"})
    return make_vault(**{name: FolderStore(folder) for name, folder in folders.items()})


@pytest.fixture
def service(vault: Vault, clock: Clock) -> Service:
    policies.ensure_first_policy()
    BackupPolicy.objects.tracked_change(in_force_from=clock())
    return Service(vault, clock)


@pytest.fixture
def acme(service: Service, clock: Clock) -> Customer:
    """Acme, with records, uploads and links, since the service began."""
    return _begun(add_customer("acme", "Acme Bicycles", start=date(2026, 1, 1)), clock)


@pytest.fixture
def beta(service: Service, clock: Clock) -> Customer:
    return _begun(add_customer("beta", "Beta Boats", start=date(2026, 1, 1)), clock)


def _begun(customer: Customer, clock: Clock) -> Customer:
    Customer.objects.filter(pk=customer.pk).tracked_change(created_at=clock())
    fill(customer)
    customer.refresh_from_db()
    return customer


@pytest.fixture
def people(acting: Any, transactional_db: None, settings: Any) -> dict[str, User]:
    """All in their roles for long."""
    settings.L2L_SAMPLE = True
    now, found = datetime.now(UTC), {}
    for name, role in ROLES.items():
        found[name] = User.objects.create_user(name, password="pw")
        grant_role(found[name], role, reason="a test", now=now, since=now - timedelta(days=700))
    return found
