"""A write begun before the freeze and committed late is waited for, and is in the comparison (design section 4)."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from audit.models import Stream
from backups.live_restore import carrying_out
from backups.models import LiveRestore, LiveRestoreRequest
from backups.vault import Vault
from subscriptions.models import DataRecord
from tests.audit.test_freezes import Elsewhere, two_connections, writer_under_way
from tests.backups.live_restore.conftest import approve, ask, state_of
from tests.backups.live_restore.test_restoring import damage

pytestmark = two_connections


@pytest.fixture
def approved(kept: Any, vault: Vault, people: dict[str, User]) -> LiveRestoreRequest:
    damage(kept)
    asked = ask(vault, kept, people)
    approve(vault, asked, people)
    return asked


def test_what_commits_late_is_seen_and_voids_the_request(kept: Any, vault: Vault, approved: LiveRestoreRequest) -> None:
    def late() -> DataRecord:
        return DataRecord.objects.create(customer=kept, kind="part", reference="late")

    with writer_under_way(late) as (writer, may_commit):
        restorer = Elsewhere(lambda: carrying_out.carry_out(vault, approved.pk))
        assert restorer.waits_for_a_lock()
        assert LiveRestore.objects.get().progress == "waiting for those who write"
        may_commit.set()
        assert isinstance(writer.ended(), DataRecord)
        done: Any = restorer.ended()
    assert done.state == "moved"
    assert DataRecord.objects.filter(reference="late").exists()
    assert Stream.objects.get(pk=kept.pk).frozen_at is None


def test_a_neighbours_late_writer_holds_nobody_up(kept: Any, acme2: Any, vault: Vault, approved: LiveRestoreRequest) -> None:
    with writer_under_way(lambda: DataRecord.objects.create(customer=acme2, kind="part", reference="late")):
        done: Any = Elsewhere(lambda: carrying_out.carry_out(vault, approved.pk)).ended()
    assert done.state == "done"


def test_of_two_processes_that_carry_it_out_one_does(kept: Any, vault: Vault, approved: LiveRestoreRequest) -> None:
    both = [Elsewhere(lambda: carrying_out.carry_out(vault, approved.pk)) for _ in range(2)]
    ended = [one.ended() for one in both]
    assert sorted(one is None for one in ended) == [False, True]
    assert connection.vendor == "postgresql" and state_of(kept)
    assert LiveRestore.objects.get().state == "done"
