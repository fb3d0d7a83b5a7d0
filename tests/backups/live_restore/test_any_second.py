"""The state of any second comes back into the live tables as a set's does (P14)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile

from audit import clock
from backups.choosing import At, Only
from backups.live_restore import carrying_out
from backups.models import LiveRestore
from backups.vault import Vault
from subscriptions.models import DataRecord, UploadedContent
from tests.backups.live_restore.conftest import approve, ask, same_as_history, state_of
from tests.backups.live_restore.test_restoring import damage
from tests.backups.shipping import ship

pytestmark = pytest.mark.django_db(transaction=True)


def shipped(vault: Vault) -> At:
    """Everything so far is in segments; the moment after it, which an idle mark covers."""
    ship(vault)
    moment = clock.database_now()
    ship(vault)
    return At(moment)


def test_a_second_between_two_changes_after_the_set(kept: Any, vault: Vault, restored: Callable[..., LiveRestore], uploads: Path) -> None:
    upload = UploadedContent.objects.create(customer=kept, name="new.bin", file=ContentFile(b"after the set", name="x"))
    DataRecord.objects.filter(reference="9").tracked_change(kind="other")
    wanted, good = state_of(kept), shipped(vault)
    damage(kept)
    UploadedContent.objects.get(pk=upload.pk).delete()
    shipped(vault)
    (uploads / upload.file.name).unlink()
    done = restored(kept, at=good)
    assert (done.state, done.trouble, done.files) == ("done", "", 1)
    assert state_of(kept) == wanted and same_as_history(kept)
    assert (uploads / upload.file.name).read_bytes() == b"after the set"
    assert (done.request.set_id, done.request.state_at) == (None, good.moment)


def test_undone_by_the_moment_before(kept: Any, vault: Vault, restored: Callable[..., LiveRestore]) -> None:
    good = shipped(vault)
    damage(kept)
    damaged, before = state_of(kept), shipped(vault)
    assert restored(kept, at=good).state == "done"
    shipped(vault)
    assert restored(kept, at=before).state == "done"
    assert state_of(kept) == damaged


def test_one_item_of_any_second(kept: Any, vault: Vault, restored: Callable[..., LiveRestore]) -> None:
    DataRecord.objects.filter(reference="4").tracked_change(data={"Name": "good"})
    good = shipped(vault)
    damage(kept)
    assert restored(kept, at=good, only=Only("datarecord", "4")).counts == {"l2l_subscriptions.datarecord": [0, 1, 0]}
    assert DataRecord.objects.get(reference="4").data == {"Name": "good"}


def test_what_is_approved_is_the_state_of_the_request_whatever_was_shipped_since(kept: Any, vault: Vault, people: dict[str, User]) -> None:
    good = shipped(vault)
    damage(kept)
    asked = ask(vault, kept, people, at=good)
    shipped(vault)
    approve(vault, asked, people)
    DataRecord.objects.create(customer=kept, kind="part", reference="meanwhile")
    shipped(vault)
    done = carrying_out.carry_out(vault, asked.pk)
    assert done is not None and done.state == "moved"
