"""An installation with key files of its own, two prepared folders, and people whose rights are old enough to approve."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from pyrage.x25519 import Identity

import audit
from audit.grants import grant_role
from audit.roles import Role, ensure_roles
from backups import keyfiles
from backups import vault as vaults
from backups.keys import keeping, recorded, requests
from backups.keys.rewrapping import Wrapped
from backups.policies import ensure_first_policy
from backups.vault import Vault
from l2l import installing

PASSWORD = "a long enough password"


@pytest.fixture
def people(acting: Any, transactional_db: None, settings: Any) -> dict[str, User]:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ensure_roles()
    long_ago = datetime.now(UTC) - timedelta(days=40)
    roles = {"olga": Role.BACKUP_OPERATOR, "rita": Role.RECEIPT_APPROVER, "ada": Role.ACCOUNT_MANAGER}
    found = {}
    for name, role in roles.items():
        found[name] = User.objects.create_user(name, password=PASSWORD, is_staff=True)
        grant_role(found[name], role, reason="hired", now=long_ago, since=long_ago)
    return {name: User.objects.get(pk=user.pk) for name, user in found.items()}  # rights are read anew


@pytest.fixture
def keys(tmp_path: Path, settings: Any, folders: dict[str, Path], people: dict[str, User]) -> Path:
    """The key folder of an installation with two prepared locations."""
    settings.L2L_HOME, settings.L2L_KEYS, settings.L2L_SPOOL = tmp_path, tmp_path / "keys", tmp_path / "spool"
    settings.L2L_LOCATIONS = " ".join(f"{name}=file://{folder}" for name, folder in folders.items())
    settings.L2L_OFFSITE = ["offsite"]
    keyfiles.make_key_files(tmp_path / "keys", "2026-03-01")
    recorded.ensure_recorded(tmp_path / "keys", vaults.clock())
    ensure_first_policy()
    assert list(installing.prepare_locations(sample=True)) == []
    return tmp_path / "keys"


@pytest.fixture
def installed(keys: Path) -> Vault:
    """A vault that lives on while the keys change, as in a process that works for days."""
    return vaults.from_settings()


@pytest.fixture
def escrow(keys: Path) -> Identity:
    """The secret half that stands in the recovery kit alone."""
    return kit_keys(keys)[1]


def kit_keys(folder: Path) -> list[Identity]:
    text = (folder / keyfiles.KIT).read_text()
    return [Identity.from_str(one) for one in re.findall(r"^AGE-SECRET-KEY-\S+$", text, re.M)]


@pytest.fixture
def change(keys: Path, people: dict[str, User]) -> Callable[..., Wrapped]:
    """Olga asks, rita approves, and it is done."""

    def do(deed: str, *, escrow: Identity | None = None, **what: str) -> Wrapped:
        now = vaults.clock()
        asked = requests.ask(deed, by=people["olga"], why="a test", now=now, **what)
        approved = requests.approve(asked, by=people["rita"], password=PASSWORD, now=now)
        with audit.acting("worker", source="test"):
            return keeping.carry_out(keys, approved, now=now, escrow=escrow)

    return do
