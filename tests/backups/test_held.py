"""Legal holds are what people decided: they stand in the system stream's sets, and hold up no backup (P9)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User

from audit import registry
from audit.grants import grant_role
from audit.models import Stream
from audit.roles import Role
from backups.choosing import UnknownCustomer
from backups.nightly import back_up
from backups.restore import restore
from backups.vault import Vault
from subscriptions import holds
from subscriptions.models import DataRecord

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ada(acting: Any, acme: Any) -> User:
    ada = User.objects.create_user("ada", password="pw")
    grant_role(ada, Role.ACCOUNT_MANAGER, reason="a test", now=datetime.now(UTC))
    acme.account_manager = ada
    acme.save()
    return ada


def rows_of(folder: Path, label: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rows" / f"{label}.ndjson").read_text().splitlines()]


def test_holds_and_requests_to_release_them_are_in_the_system_streams_set(ada: User, acme: Any, vault: Vault, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    hold = holds.place(acme, holder="District Court", basis="file 4 O 17/26", review_on=(now + timedelta(days=90)).date(), by=ada, now=now)
    holds.request_release(hold, by=ada, why="the case is closed", now=now)
    system = back_up(vault, Stream.objects.get(pk=registry.SYSTEM_STREAM))
    assert system.good and system.backup_set.proof == "proved"
    assert restore(vault, UnknownCustomer(registry.SYSTEM_STREAM), tmp_path / "out").good
    (found,) = rows_of(tmp_path / "out", "l2l_subscriptions.legalhold")
    assert (found["holder"], found["basis"], found["released_at"]) == ("District Court", "file 4 O 17/26", None)
    (asked,) = rows_of(tmp_path / "out", "l2l_subscriptions.holdreleaserequest")
    assert (asked["hold_id"], asked["why"], asked["state"]) == (found["id"], "the case is closed", "requested")


def test_a_held_customer_is_backed_up_and_restored_as_before(ada: User, acme: Any, vault: Vault, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    holds.place(acme, holder="District Court", basis="x", review_on=(now + timedelta(days=90)).date(), by=ada, now=now)
    DataRecord.objects.create(customer=acme, kind="part", reference="P-1")
    outcome = back_up(vault, Stream.objects.get(pk=acme.pk))
    assert outcome.good and outcome.backup_set.proof == "proved"
    assert restore(vault, acme, tmp_path / "out").good
    assert [row["reference"] for row in rows_of(tmp_path / "out", "l2l_subscriptions.datarecord")] == ["P-1"]
