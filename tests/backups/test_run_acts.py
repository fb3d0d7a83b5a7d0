"""Sets that people ask for outside of the nights: one at a time, owed to no night, and never paused."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction

import audit
from audit.errors import NoActor
from audit.models import Event, Stream
from backups import policies, run_acts, runs
from backups.models import BackupPolicy, Run
from backups.run_acts import RunRefused
from backups.stores.contract import StoreUnavailable
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import Customer
from tests.backups.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

WHY = {"reason": "before the upgrade"}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("memory:primary")


@pytest.fixture
def vault(transactional_db: None, make_vault: Any, store: MemoryStore) -> Vault:
    return make_vault(primary=store)


@pytest.fixture
def stream(transactional_db: None, acme: Any, clock: Clock) -> Stream:
    policies.ensure_first_policy()
    BackupPolicy.objects.tracked_change(in_force_from=clock() - timedelta(days=2))
    Customer.objects.tracked_change(created_at=clock() - timedelta(days=2))
    return Stream.objects.get(pk=acme.pk)


def test_an_asked_set_is_due_at_once_and_belongs_to_the_night_that_runs(stream: Stream, vault: Vault, clock: Clock) -> None:
    run = run_acts.ask(stream.pk, clock(), **WHY)
    assert (run.kind, run.night) == ("asked", date(2026, 3, 9)) and run.due_at == clock()
    assert runs.work_off(vault, run.pk).state == "done"  # type: ignore[union-attr]
    told = Event.objects.get(event="run:asked")
    assert (told.actor, told.customer, told.facts) == ("ada", stream.pk, {"night": "2026-03-09", "run": run.pk})
    assert [(act.what, act.actor, act.reason) for act in run.acts.all()] == [("asked", "ada", "before the upgrade")]


def test_while_one_is_open_asking_again_is_the_same_one(stream: Stream, vault: Vault, clock: Clock) -> None:
    first = run_acts.ask(stream.pk, clock(), **WHY)
    assert run_acts.ask(stream.pk, clock(), **WHY).pk == first.pk
    Run.objects.filter(pk=first.pk).update(state="running", started_at=clock())
    again = run_acts.ask(stream.pk, clock(), **WHY)
    assert (again.pk, again.state, again.acts.count()) == (first.pk, "running", 2)
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.create(
            stream=stream, kind="asked", night=first.night, policy=1, due_at=clock(), ends_at=clock(), next_try_at=clock(), state="owed"
        )


def test_an_asked_set_is_not_paused_nor_excused_nor_missed(stream: Stream, vault: Vault, store: MemoryStore, clock: Clock) -> None:
    run = run_acts.ask(stream.pk, clock(), **WHY)
    with pytest.raises(RunRefused, match="asked for by a person"):
        run_acts.pause(run.pk, clock(), until=clock() + timedelta(days=1), **WHY)
    with pytest.raises(RunRefused, match="asked for by a person"):
        run_acts.excuse(run.pk, clock(), **WHY)
    run_acts.stop(run.pk, clock(), **WHY)
    clock.forward(days=3)
    runs.owe_nights(clock())
    assert Run.objects.get(pk=run.pk).state == "stopped"


def test_one_that_was_stopped_waits_for_the_one_asked_for_since(stream: Stream, vault: Vault, clock: Clock) -> None:
    stopped = run_acts.ask(stream.pk, clock(), **WHY)
    run_acts.stop(stopped.pk, clock(), **WHY)
    newer = run_acts.ask(stream.pk, clock(), **WHY)
    with pytest.raises(RunRefused, match="asked for meanwhile"):
        run_acts.retry(stopped.pk, clock(), **WHY)
    runs.work_off(vault, newer.pk)
    run_acts.retry(stopped.pk, clock(), **WHY)
    assert runs.work_off(vault, stopped.pk).state == "done"  # type: ignore[union-attr]


def test_it_hides_no_night_that_is_owed(stream: Stream, vault: Vault, clock: Clock) -> None:
    run_acts.ask(stream.pk, clock(), **WHY)
    runs.owe_nights(clock())
    owed = Run.objects.filter(stream=stream, kind="backup").order_by("night")
    assert [run.night.day for run in owed] == [7, 8, 9] and owed[2].state == "owed"


def test_a_failing_one_is_tried_again_as_the_policy_says(stream: Stream, vault: Vault, store: MemoryStore, clock: Clock) -> None:
    run = run_acts.ask(stream.pk, clock(), **WHY)
    store.fail = lambda operation, name: _raise()
    assert runs.work_off(vault, run.pk).state == "owed"  # type: ignore[union-attr]
    store.fail = None
    clock.forward(minutes=1)
    assert runs.work_off(vault, run.pk).state == "done"  # type: ignore[union-attr]


def _raise() -> None:
    raise StoreUnavailable("nobody answers")


def test_nobody_and_no_reason_ask_for_nothing(stream: Stream, clock: Clock) -> None:
    with pytest.raises(RunRefused, match="Say why"):
        run_acts.ask(stream.pk, clock(), reason=" ")
    assert not Run.objects.exists()
    audit.actors._acting.set(None)
    with pytest.raises(NoActor):
        run_acts.ask(stream.pk, clock(), **WHY)
    assert not Run.objects.exists()
