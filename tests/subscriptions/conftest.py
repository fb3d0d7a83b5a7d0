"""People in their roles, and a folder to import, written by the test as a customer would deliver it."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit.grants import grant_role
from audit.roles import Role
from subscriptions.models import Customer

ROLES = {
    "ada": Role.ACCOUNT_MANAGER,
    "bo": Role.ACCOUNT_MANAGER,
    "rita": Role.RECEIPT_APPROVER,
    "olga": Role.BACKUP_OPERATOR,
    "otto": Role.AUDITOR,
}


class Delivery:
    """Writes below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def records(self, kind: str, *rows: tuple[str, ...]) -> Path:
        """`records/KIND.csv` of header and rows, as the csv module writes them."""
        path = self._at(f"records/{kind}.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    def upload(self, name: str, content: bytes) -> Path:
        return self.raw(f"uploads/{name}", content)

    def links(self, *rows: tuple[str, ...]) -> Path:
        path = self._at("links.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows((("reference", "title", "url"), *rows))
        return path

    def raw(self, name: str, content: bytes) -> Path:
        path = self._at(name)
        path.write_bytes(content)
        return path

    def _at(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def delivery(tmp_path: Path) -> Delivery:
    return Delivery(tmp_path / "delivery")


@pytest.fixture
def take(acme: Any, delivery: Delivery) -> Any:
    """Imports the delivery for acme."""
    from subscriptions.importing import import_content

    def importing(**options: Any) -> Any:
        return import_content(acme, delivery.folder, **options)

    return importing


@pytest.fixture
def people(acting: Any, acme: Customer, settings: Any) -> dict[str, User]:
    """All in their roles for a month; acme is Ada's."""
    settings.L2L_SAMPLE = True
    now = datetime.now(UTC)
    found = {name: User.objects.create_user(name, password="pw") for name in ROLES}
    for name, role in ROLES.items():
        grant_role(found[name], role, reason="a test", now=now, since=now - timedelta(days=30))
    acme.account_manager = found["ada"]
    acme.save()
    return found
