"""What is not whole, or not what it was, is found, told with owner and due date, and never taken for good (P7)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from audit import registry
from audit.models import Event, Finding, JournalRow, Stream
from audit.registry import SYSTEM_STREAM
from backups.models import BackupSet, TestCell, TestOrder, TestRestore
from backups.nightly import back_up
from backups.policies import ensure_first_policy
from backups.vault import Vault
from tests.backups.test_back_up import backed_up
from tests.backups.test_restore import flip
from tests.backups.test_restores.conftest import Tested

pytestmark = pytest.mark.django_db(transaction=True)


def blobs_of_set(folder: Path, backup_set: BackupSet) -> list[Path]:
    envelope = json.loads((folder / f"customers/{backup_set.stream_id}/sets/{backup_set.pk}.json").read_text())
    return [folder / f"customers/{backup_set.stream_id}/blobs/{name[:2]}/{name}" for name, _ in envelope["blobs"]]


def failures(made: list[TestOrder]) -> dict[str, str]:
    return {one.location.name: one.result.text for one in made if one.result is not None and not one.result.passed}


def test_damage_at_one_location_is_a_finding_and_at_both_the_set_is_lost(
    kept: Any, vault: Vault, folders: dict[str, Path], tested: Tested, clock: Any
) -> None:
    backup_set = BackupSet.objects.get()
    flip(blobs_of_set(folders["offsite"], backup_set)[0])
    told = failures(tested(kept))
    assert list(told) == ["offsite"] and "is damaged at offsite" in told["offsite"] and "primary: whole" in told["offsite"]
    finding = Finding.objects.get()
    assert (finding.kind, finding.customer, finding.is_open) == ("test-restore-failed", kept.pk, True)
    assert "acme" in finding.text and (finding.due_on - clock().date()).days == 7
    cell = TestCell.objects.get(location__name="offsite")
    assert cell.failed and cell.tested_at is None and "damaged" in cell.trouble
    assert BackupSet.objects.get().damaged_at is None

    blobs_of_set(folders["primary"], backup_set)[0].unlink()
    primary, offsite = tested(kept)
    assert "offsite: damaged" in failures([primary])["primary"] and "no nightly set" in offsite.trouble  # it is lost, and chosen no more
    assert BackupSet.objects.get().damaged_at == clock()
    assert Finding.objects.count() == 2 and Event.objects.filter(event="set:damaged").count() == 1
    assert list(Path(vault.spool).iterdir()) == []


def test_a_location_out_of_reach_is_not_tested_and_stays_owed(
    kept: Any, vault: Vault, folders: dict[str, Path], tested: Tested, tmp_path: Path
) -> None:
    folders["offsite"].rename(tmp_path / "away")
    made = {one.location.name: one for one in tested(kept)}
    assert (made["offsite"].state, made["primary"].state) == ("not tested", "done")
    assert "out of reach" in made["offsite"].trouble and made["offsite"].result is None
    cell = TestCell.objects.get(location__name="offsite")
    assert cell.tested_at is None and cell.trouble.startswith("Not tested: offsite is out of reach") and not cell.failed
    assert not Finding.objects.exists() and TestRestore.objects.count() == 1


def test_a_location_without_the_key_or_the_envelope_fails_though_another_has_it(
    kept: Any, vault: Vault, folders: dict[str, Path], tested: Tested
) -> None:
    [key] = (folders["offsite"] / "keys" / str(kept.pk)).iterdir()
    data = key.read_bytes()
    key.unlink()
    told = failures(tested(kept))
    assert list(told) == ["offsite"] and "key" in told["offsite"]
    key.write_bytes(data)
    (folders["offsite"] / f"customers/{kept.pk}/sets/{BackupSet.objects.get().pk}.json").unlink()
    told = failures(tested(kept))
    assert list(told) == ["offsite"] and "holds the set" in told["offsite"]


# Sets that are whole, signed by the right key, and wrong


def behind_our_back(*statements: str) -> None:
    with connection.constraint_checks_disabled(), transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            cursor.execute(statement)


def a_wrong_count(backup_set: BackupSet, vault: Vault) -> None:
    for place in vault.places:
        path = Path(place.store.url.removeprefix("file://")) / f"customers/{backup_set.stream_id}/sets/{backup_set.pk}.json"
        envelope = {name: value for name, value in json.loads(path.read_text()).items() if name not in ("signed_by", "signature")}
        envelope["counts"]["rows"] += 1
        path.write_text(json.dumps(vault.signer.sign(envelope)))


def altered(table: str, change: str, where: str) -> Callable[[], None]:
    return lambda: behind_our_back(f"UPDATE {table} SET {change} WHERE {where}")


def test_a_set_that_was_made_of_tampered_data_does_not_pass(kept: Any, vault: Vault, tested: Tested, clock: Any) -> None:
    """Each: what somebody did behind our back before the set was made, and what the judge says of it."""
    journal, records = JournalRow._meta.db_table, "l2l_subscriptions_datarecord"
    change = JournalRow.objects.filter(stream=kept.pk, number=5).get()
    gone = f"DELETE FROM {_history(change)} WHERE history_id = {change.history_id}"
    cases: list[tuple[str, Callable[[], None], str]] = [
        ("a row altered", altered(records, "kind = 'other'", "reference = '1'"), "history: 1 of"),
        ("an end of the chain moved", altered(journal, "digest = leaf", f"id = {change.pk}"), "chain: 2 of"),
        ("a leaf that is of nothing", altered(journal, f"salt = '{'0' * 32}'", f"id = {change.pk}"), "is not what was numbered"),
        ("no row of history", lambda: behind_our_back(gone), "is not there"),
    ]
    assert not failures(tested(kept, location="primary"))
    for what, tamper, told in cases:
        tamper()
        clock.forward(minutes=10)
        backup_set = backed_up(vault, kept).backup_set
        found = failures(tested(kept, location="primary", set_id=str(backup_set.pk)))
        assert told in found.get("primary", "passed"), what
    a_wrong_count(BackupSet.objects.earliest("started_at"), vault)
    told_last = failures(tested(kept, location="primary", set_id=str(BackupSet.objects.earliest("started_at").pk)))["primary"]
    assert "counts: 1 of" in told_last and "the envelope counts" in told_last


def test_a_row_whose_parent_is_gone_is_found_among_what_people_decide(acme: Any, acme2: Any, vault: Vault, tested: Tested) -> None:
    """The system stream is tested like any customer."""
    ensure_first_policy()
    system = Stream.objects.get(pk=SYSTEM_STREAM)
    back_up(vault, system)
    assert not failures(tested(system))
    behind_our_back("DELETE FROM l2l_subscriptions_customer WHERE code = 'acme2'")
    made = back_up(vault, system).backup_set
    told = failures(tested(system, set_id=str(made.pk), location="primary"))["primary"]
    assert "parents: 1 of" in told and "customer_id of l2l_subscriptions.subscription" in told


def _history(change: JournalRow) -> str:
    protected = registry.by_label(change.model)
    assert protected is not None
    return protected.history_model._meta.db_table
