"""The plan lists what there is, by looking; what is not as it was approved voids the approval (P12; design section 9)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from audit.two_person import PlanChanged
from backups.destroy import planning
from backups.errors import NoLocation
from backups.models import DestructionPlan, DestructionStep
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, DeletionRequest
from tests.backups.destroy.conftest import looked, state_of
from tests.backups.destroy.test_carrying_out import files_of, rows_of

pytestmark = pytest.mark.django_db(transaction=True)


def put(folder: Path, name: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def test_it_lists_every_object_and_row_and_is_the_same_again(
    acme: Customer, acme2: Customer, received: DeletionRequest, vault: Vault, folders: dict[str, Path]
) -> None:
    plan = planning.plan_of(vault, received)
    for name, folder in folders.items():
        listed = plan.document["locations"][name]
        there = [one for one in files_of(folder, acme) if not one.startswith("hot/")]
        assert sorted([*listed["objects"], *listed["keys"]]) == there and listed["segments"]
    assert plan.rows == rows_of(acme) and plan.document["uploads"] and plan.waits == ()
    assert str(acme2.pk) not in str(plan.document)
    assert planning.plan_of(vault, received).digest == plan.digest
    assert any(what == "keys" and count == 1 for what, _, count, _ in plan.summary())


def test_a_location_that_is_down_cannot_be_planned(received: DeletionRequest, vault: Vault, folders: dict[str, Path]) -> None:
    folders["offsite"].rename(folders["offsite"].with_name("away"))
    with pytest.raises(NoLocation, match="offsite"):
        planning.plan_of(vault, received)


def test_what_was_not_shown_is_not_approved(
    acme: Customer, received: DeletionRequest, vault: Vault, people: dict[str, Any], folders: dict[str, Path]
) -> None:
    seen = planning.plan_of(vault, received).digest
    put(folders["offsite"], f"customers/{acme.pk}/blobs/ab/{'ab' * 32}")
    with pytest.raises(PlanChanged):
        planning.approve(vault, received, seen=seen, by=people["rita"], password="pw", code="acme", why="x", now=vault.clock())
    assert state_of(received) == "acknowledged" and not DestructionPlan.objects.exists()


def extra_object(acme: Customer, folders: dict[str, Path]) -> None:
    put(folders["offsite"], f"customers/{acme.pk}/blobs/ab/{'ab' * 32}")


def extra_key(acme: Customer, folders: dict[str, Path]) -> None:
    put(folders["primary"], f"keys/{acme.pk}/7.age")


def extra_row(acme: Customer, folders: dict[str, Path]) -> None:
    with connection.cursor() as cursor:
        statement = "INSERT INTO {0} (customer_id, kind, reference, data) SELECT customer_id, kind, 'x', data FROM {0} LIMIT 1"
        cursor.execute(statement.format(DataRecord._meta.db_table))


def removed_row(acme: Customer, folders: dict[str, Path]) -> None:
    key = DataRecord.objects.filter(customer=acme).latest("pk").pk
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM "{DataRecord._meta.db_table}" WHERE id = %s', [key])


def vanished_object(acme: Customer, folders: dict[str, Path]) -> None:
    next(folders["offsite"].glob(f"customers/{acme.pk}/sets/*.age")).unlink()


def extra_upload(acme: Customer, folders: dict[str, Path]) -> None:
    put(folders["primary"].parent.parent / "uploads", f"uploads/{acme.pk}/{'0' * 32}")


@pytest.mark.parametrize("meddle", [extra_object, extra_key, extra_row, removed_row, vanished_object, extra_upload])
def test_what_changed_since_voids_the_approval_and_nothing_is_touched(
    acme: Customer, approved: DeletionRequest, vault: Vault, folders: dict[str, Path], meddle: Callable[..., None]
) -> None:
    meddle(acme, folders)
    there = {name: files_of(folder, acme) for name, folder in folders.items()}
    rows = rows_of(acme)
    report = looked(vault)
    assert report.void["acme"] and not report.begun
    assert state_of(approved) == "acknowledged" and not DestructionStep.objects.exists()
    assert {name: files_of(folder, acme) for name, folder in folders.items()} == there and rows_of(acme) == rows
    assert not any((folder / "ended").exists() for folder in folders.values())


def test_what_a_recorded_act_removed_does_not(acme: Customer, approved: DeletionRequest, vault: Vault, folders: dict[str, Path]) -> None:
    """As when the removal of a set had begun before the return, and its objects go with their rows."""
    from backups.models import Blob

    body = Blob.objects.filter(stream=acme.pk, kind="body").earliest("pk")
    for folder in folders.values():
        (folder / body.name).unlink()
    body.delete()
    assert looked(vault).begun == ["acme"]


def test_an_altered_plan_is_void(approved: DeletionRequest, vault: Vault) -> None:
    row = DestructionPlan.objects.get()
    with connection.cursor() as cursor:
        packed = DestructionPlan.pack(row.document | {"code": "other"})
        cursor.execute(f'UPDATE "{DestructionPlan._meta.db_table}" SET packed = %s WHERE id = %s', [packed, row.pk])
    assert "altered" in looked(vault).void["acme"][0]
    assert state_of(approved) == "acknowledged"
