"""After a purge everything is proved as before, and what somebody adds to it behind our back is named (P8, P9)."""

from __future__ import annotations

import contextlib
import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from audit import registry
from audit.models import JournalRow, Stream
from backups.hot import shipper
from backups.models import Purge
from backups.nightly import back_up
from backups.purge.recorded import recorded_numbers
from backups.snapshot import snapshot
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.backups.purge.conftest import Purged
from tests.backups.test_proof import JOURNAL, PAST, raw

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def gone(aged: Any, purged: Purged, vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Acme after the purge, which is shipped; the command finds the test's vault."""
    purged(aged)
    shipper.ship_once(vault)
    monkeypatch.setattr("l2l.management.commands.verify_audit.vaults.from_settings", lambda: vault)
    return aged


def problems(vault: Vault) -> list[str]:
    out = StringIO()
    with contextlib.suppress(CommandError):
        call_command("verify_audit", "--json", "--fingerprint", vault.fingerprint, stdout=out)
    found = json.loads(out.getvalue())["changes"]
    assert found["troubles"] == []
    return [f"{one['customer']} {one['number']}: {one['what']}" for one in found["problems"]]


def kept_number() -> int:
    image = registry.of(DataRecord).history_model.objects.get(reference="new-1").history_id
    return JournalRow.objects.get(model="l2l_subscriptions.datarecord", history_id=image).number or 0


def test_all_is_as_it_was_recorded(gone: Any, vault: Vault, clock: Any) -> None:
    assert problems(vault) == []
    for stream in (gone.pk, registry.SYSTEM_STREAM):
        clock.forward(days=1)
        assert back_up(vault, Stream.objects.get(pk=stream)).backup_set.proof == "proved"
    assert problems(vault) == []


def test_a_salt_that_somebody_took_away_is_named(gone: Any, vault: Vault, clock: Any) -> None:
    number = kept_number()
    raw(f"UPDATE {JOURNAL} SET salt = NULL WHERE number = {number} AND model = 'l2l_subscriptions.datarecord'")
    assert problems(vault) == [f"acme {number}: its history row is there, and the salt that proves it is gone"]


def test_an_item_that_somebody_removed_as_if_it_were_purged_is_named(gone: Any, vault: Vault, clock: Any) -> None:
    number = kept_number()
    row = DataRecord.objects.get(reference="new-1")
    image = row.history.get().history_id
    raw(
        f"DELETE FROM l2l_subscriptions_datarecord WHERE id = {row.pk}",
        f"DELETE FROM {PAST} WHERE history_id = {image}",
        f"UPDATE {JOURNAL} SET salt = NULL WHERE number = {number} AND model = 'l2l_subscriptions.datarecord'",
    )
    told = "its content is gone, and no purge lists it: removed behind our back"
    assert problems(vault) == [f"acme {number}: {told}"]
    clock.forward(days=1)
    made = back_up(vault, Stream.objects.get(pk=gone.pk)).backup_set
    assert made.proof == "broken" and f"change {number}: {told}" in made.proof_text


def test_a_purge_row_that_somebody_altered_excuses_nothing(gone: Any, vault: Vault) -> None:
    """What counts is the purge's history, which is in the chain."""
    with snapshot() as moment:
        before = recorded_numbers(moment)(gone.pk)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE l2l_backups_purge SET numbers = %s", [b""])
    with snapshot() as moment:
        assert recorded_numbers(moment)(gone.pk) == before != frozenset()
    history = registry.of(Purge).history_model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {history} SET numbers = %s", [b""])
    assert any(one.startswith("system") for one in problems(vault)) and any(one.startswith("acme") for one in problems(vault))


def test_purged_content_that_somebody_put_back_is_named(gone: Any, vault: Vault) -> None:
    purge = Purge.objects.order_by("-id")[0]
    lost = JournalRow.objects.filter(stream=gone.pk, salt=None).order_by("number")[0]
    raw(f"UPDATE {JOURNAL} SET salt = '{'ab' * 16}' WHERE id = {lost.pk}")
    assert purge and f"acme {lost.number}: a purge lists it, and its content is there again" in problems(vault)[0]
