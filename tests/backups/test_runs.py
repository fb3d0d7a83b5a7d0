"""Runs: owed, begun once, tried again, stopped, paused, missed; one customer's failure stops no other (P1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django_q.models import OrmQ

from audit.models import Event, Stream
from backups import leases, policies, queueing, run_acts, runs, tasks
from backups import vault as vaults
from backups.errors import LeaseLost
from backups.models import BackupPolicy, BackupSet, Run
from backups.nights import NightReport
from backups.run_acts import RunRefused
from backups.stores.contract import StoreUnavailable
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import Customer, DataRecord, Subscription
from subscriptions.onboarding import add_customer
from tests.backups.conftest import Clock

pytestmark = pytest.mark.django_db(transaction=True)

TENTH = date(2026, 3, 10)
WHY = {"reason": "the customer asked for it"}


@pytest.fixture
def stores() -> dict[str, MemoryStore]:
    return {name: MemoryStore(f"memory:{name}") for name in ("primary", "offsite")}


@pytest.fixture
def vault(transactional_db: None, make_vault: Any, stores: dict[str, MemoryStore]) -> Vault:
    return make_vault(**stores)


@pytest.fixture
def night(transactional_db: None, acting: Any, clock: Clock) -> Iterator[None]:
    """Two customers since the first of March, a policy since then, and the evening of the tenth, when backups are due."""
    Stream.objects.get_or_create(pk=runs.SYSTEM_STREAM, defaults={"name": "system"})
    policies.ensure_first_policy()
    BackupPolicy.objects.tracked_change(in_force_from=datetime(2026, 3, 10, 13, 0, tzinfo=UTC))
    for code in ("acme", "beta"):
        customer = add_customer(code, code, start=date(2026, 3, 1))
        DataRecord.objects.create(customer=customer, kind="part", reference="1", data={"Name": code})
    Customer.objects.tracked_change(created_at=datetime(2026, 3, 1, tzinfo=UTC))
    clock.now = datetime(2026, 3, 10, 22, 0, tzinfo=UTC)
    yield


def of(code: str, night: date = TENTH) -> Run:
    return Run.objects.get(stream__name=code, night=night)


def work(vault: Vault) -> list[str]:
    """What a worker does at a minute: looks, and works off what is due. The states that the runs came to."""
    runs.owe_nights(vault.clock())
    runs.recover(vault.clock())
    done = [runs.work_off(vault, pk) for pk in runs.due_runs(vault.clock()).values_list("pk", flat=True)]
    return [run.state for run in done if run is not None]


def report(vault: Vault, night: date = TENTH) -> NightReport:
    found = runs.night_report(night, vault.clock())
    assert sum(found.counts.values()) == found.owed == 3
    return found


def test_a_night_is_owed_to_each_customer_and_the_system_stream_once(night: None, clock: Clock) -> None:
    assert runs.owe_nights(clock()) == 3 and runs.owe_nights(clock()) == 0
    assert [run.due_at for run in Run.objects.all()] == [datetime(2026, 3, 10, 22, 0, tzinfo=UTC)] * 3
    assert runs.due_runs(clock() - timedelta(seconds=1)).count() == 0 and runs.due_runs(clock()).count() == 3


def test_a_night_filled_everywhere_is_done_and_not_red(night: None, vault: Vault) -> None:
    assert work(vault) == ["done"] * 3 and work(vault) == []
    found = report(vault)
    assert found.counts == {"filled": 3} and not found.red
    run = of("acme")
    assert run.attempts == 1 and run.backup_set is not None and run.backup_set.policy == 1 and run.backup_set.protected_at is not None


def test_a_run_is_begun_by_one_process_only(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    pk = of("acme").pk
    assert runs.work_off(vault, pk) is not None and runs.work_off(vault, pk) is None
    assert of("acme").attempts == 1


def test_one_customers_failure_is_recorded_tried_again_and_stops_no_other(night: None, vault: Vault, stores: Any, clock: Clock) -> None:
    acme = str(Stream.objects.get(name="acme").pk)

    def fail(operation: str, name: str) -> None:
        if operation == "put" and acme in name:
            raise StoreUnavailable("the disk is full")

    for store in stores.values():
        store.fail = fail
    assert sorted(work(vault)) == ["done", "done", "owed"]
    assert "the disk is full" in of("acme").trouble and of("acme").next_try_at == clock() + timedelta(minutes=1)
    for store in stores.values():
        store.fail = None
    assert work(vault) == []  # not before its time
    clock.forward(minutes=1)
    assert work(vault) == ["done"]
    assert report(vault).counts == {"filled": 3}


def test_after_the_last_attempt_the_run_has_failed_and_the_night_is_red(night: None, vault: Vault, stores: Any, clock: Clock) -> None:
    for store in stores.values():
        store.fail = lambda operation, name: _raise()
    states = []
    for _ in range(8):
        states += work(vault)
        clock.forward(hours=1)
    assert states.count("failed") == 3 and work(vault) == []
    assert report(vault).red and report(vault).counts == {"failed": 3}
    told = Event.objects.filter(event="backup:failed")
    assert told.count() == 3
    facts = {"attempts": 8, "error": "NoLocation", "night": "2026-03-10", "run": of("acme").pk}
    assert told.get(customer=of("acme").stream_id).facts == facts
    for store in stores.values():
        store.fail = None
    run_acts.retry(of("acme").pk, clock(), **WHY)
    assert work(vault) == ["done"] and of("acme").attempts == 9
    assert [(act.what, act.actor, act.reason) for act in of("acme").acts.all()] == [("retried", "ada", "the customer asked for it")]


def _raise() -> None:
    raise StoreUnavailable("nobody answers")


def test_a_set_that_is_not_everywhere_is_caught_up_and_not_made_again(night: None, vault: Vault, stores: Any, clock: Clock) -> None:
    stores["offsite"].fail = lambda operation, name: _raise()
    assert work(vault) == ["complete"] * 3
    assert report(vault).red and report(vault).counts == {"not_everywhere": 3}
    stores["offsite"].fail = None
    clock.forward(minutes=1)
    assert work(vault) == ["done"] * 3
    assert report(vault).counts == {"filled": 3} and BackupSet.objects.count() == 3


def test_of_missed_nights_the_newest_is_run_late_and_the_others_stay_missed(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    clock.now = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)  # the service was down until the morning of the 14th
    clock.now = datetime(2026, 3, 14, 13, 0, tzinfo=UTC)  # ... until after the noon that ends the night of the 13th
    assert work(vault) == ["done"] * 3
    for day in (10, 11, 12):
        assert report(vault, date(2026, 3, day)).counts == {"missed": 3} and report(vault, date(2026, 3, day)).red
    late = report(vault, date(2026, 3, 13))
    assert late.counts == {"late": 3} and not late.red and of("acme", date(2026, 3, 13)).late
    assert report(vault, date(2026, 3, 14)).counts == {"waiting": 3}
    missed = Event.objects.filter(event="night:missed", customer=of("acme").stream_id).order_by("number")
    assert [one.facts["night"] for one in missed] == ["2026-03-10", "2026-03-11", "2026-03-12"]
    runs.owe_nights(clock())
    assert Event.objects.filter(event="night:missed").count() == 9  # told once


def test_a_new_customer_and_one_that_ended_are_owed_what_is_theirs(night: None, vault: Vault, clock: Clock) -> None:
    acme = Subscription.objects.get(customer__code="acme")
    acme.end = date(2026, 3, 10)
    acme.save_terms()
    work(vault)
    clock.forward(days=1)
    work(vault)
    assert sorted(Run.objects.filter(night=date(2026, 3, 11)).values_list("stream__name", flat=True)) == ["beta", "system"]


def test_a_stream_without_its_run_is_unaccounted_and_red(night: None, vault: Vault) -> None:
    work(vault)
    of("acme").delete()
    found = report(vault)
    assert found.unaccounted == ("acme",) and found.red


def test_a_run_whose_process_died_is_due_again_at_once(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    gone = leases.process_name().rsplit(":", 1)[0] + ":1"  # our number, but another start: that process is gone
    Run.objects.filter(pk=of("acme").pk).update(state="running", attempts=1, started_at=clock(), holder=gone)
    assert sorted(work(vault)) == ["done"] * 3 and of("acme").attempts == 2


def test_a_process_that_slept_past_its_lease_records_nothing(night: None, vault: Vault, stores: Any, clock: Clock) -> None:
    """SIGSTOP past the lease, then SIGCONT: another process has filled the night meanwhile."""
    runs.owe_nights(clock())
    pk = of("acme").pk
    slept: list[str] = []

    def sleep(operation: str, name: str) -> None:
        if operation == "put" and name.endswith(".json") and not slept:
            slept.append(name)
            clock.forward(minutes=4)
            runs.recover(clock())
            assert runs.work_off(vault, pk).state == "done"  # type: ignore[union-attr]

    alone = replace(vault, places=vault.places[:1])
    stores["primary"].fail = sleep
    attempt = runs._begin(vault, Run.objects.get(pk=pk))
    assert attempt is not None
    with pytest.raises(LeaseLost):
        runs.back_up(alone, attempt.run.stream, night=TENTH, workers=0)
    assert not attempt.tried_again(clock(), "lost", error="LeaseLost")
    run = of("acme")
    assert (run.state, run.attempts) == ("done", 2) and slept
    made = BackupSet.objects.filter(stream=run.stream, state=BackupSet.State.MADE)
    assert [one.pk for one in made] == [run.backup_set_id]


def test_a_process_that_slept_before_it_took_the_lease_makes_no_second_set(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    slept = runs._begin(vault, of("acme"))
    assert slept is not None
    clock.forward(minutes=4)
    assert sorted(work(vault)) == ["done"] * 3  # another process has filled the night
    with pytest.raises(runs.RunStopped):
        runs._fill(vault, slept)
    assert of("acme").state == "done" and BackupSet.objects.filter(stream__name="acme").count() == 1


def test_a_message_that_the_queue_lost_is_sent_again(night: None, clock: Clock) -> None:
    runs.owe_nights(clock())
    assert queueing.queue_due(clock()) == 3 and queueing.queue_due(clock()) == 0
    clock.forward(minutes=5)
    assert queueing.queue_due(clock()) == 3
    queueing.forget(queueing.WORKER)
    assert queueing.queue_due(clock()) == 3


def messages() -> list[list[int]]:
    """The runs that each message in the queue names."""
    return [one.task["args"][0] for one in OrmQ.objects.order_by("pk")]


def test_few_runs_have_a_message_each_and_many_share_some(night: None, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.owe_nights(clock())
    due = list(runs.due_runs(clock()).values_list("pk", flat=True))
    queueing.queue_due(clock())
    assert messages() == [[pk] for pk in due]
    queueing.forget(queueing.WORKER)
    monkeypatch.setattr(queueing, "SHARES", 1)
    queueing.queue_due(clock())
    assert messages() == [due]
    queueing.forget(queueing.WORKER)
    monkeypatch.setattr(queueing, "RUNS_A_MESSAGE", 2)
    queueing.queue_due(clock())
    assert messages() == [due[:2], due[2:]]


def test_runs_that_share_a_message_are_begun_and_recorded_each_by_itself(
    night: None, vault: Vault, stores: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vaults, "from_settings", lambda: vault)
    monkeypatch.setattr(vaults, "clock", clock)
    runs.owe_nights(clock())
    acme = str(of("acme").stream_id)

    def fail(operation: str, name: str) -> None:
        if operation == "put" and acme in name:
            raise StoreUnavailable("the disk is full")

    for store in stores.values():
        store.fail = fail
    due = list(runs.due_runs(clock()).values_list("pk", flat=True))
    assert sorted(tasks.work_off(due)) == ["done", "done", "owed"]
    assert tasks.work_off(due) == ["not due"] * 3
    assert of("acme").attempts == 1 and "the disk is full" in of("acme").trouble


def test_runs_that_a_long_one_held_up_are_given_back(night: None, vault: Vault, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "from_settings", lambda: vault)
    monkeypatch.setattr(vaults, "clock", clock)
    monkeypatch.setattr(tasks, "TURN_SECONDS", 0.0)
    runs.owe_nights(clock())
    monkeypatch.setattr(queueing, "SHARES", 1)
    queueing.queue_due(clock())
    (due,) = messages()
    OrmQ.objects.all().delete()  # as the worker that takes it does
    assert tasks.work_off(due) == ["done"]
    assert messages() == [due[1:]]
    assert [Run.objects.get(pk=pk).attempts for pk in due] == [1, 0, 0]


def test_what_shared_a_message_with_a_run_whose_process_died_is_queued_again_at_once(
    vault: Vault, night: None, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queueing, "SHARES", 1)
    monkeypatch.setattr(queueing, "RUNS_A_MESSAGE", 2)
    runs.owe_nights(clock())
    queueing.queue_due(clock())
    (died, waited), (elsewhere,) = messages()
    OrmQ.objects.order_by("pk")[0].delete()  # a worker took it
    attempt = runs._begin(vault, Run.objects.get(pk=died))
    assert attempt is not None
    Run.objects.filter(pk=died).update(holder=leases.process_name().rsplit(":", 1)[0] + ":1")
    assert runs.recover(clock()) == 1
    queueing.queue_due(clock())
    first, *again = messages()
    assert first == [elsewhere] and sorted(pk for one in again for pk in one) == sorted([died, waited])


def test_a_set_that_a_dead_process_had_finished_fills_the_night(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    attempt = runs._begin(vault, of("acme"))
    assert attempt is not None
    runs.back_up(vault, attempt.run.stream, night=TENTH)  # and then the process died, before it could say so
    Run.objects.filter(pk=attempt.run.pk).update(holder=leases.process_name().rsplit(":", 1)[0] + ":1")
    work(vault)
    assert of("acme").state == "done" and BackupSet.objects.filter(stream__name="acme").count() == 1


def test_a_stream_that_is_at_work_waits_and_loses_no_attempt_for_good(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    with leases.holding(leases.lease_name(of("acme").stream_id), doing="restore", clock=clock):
        assert runs.work_off(vault, of("acme").pk).state == "owed"  # type: ignore[union-attr]
    assert "restore" in of("acme").trouble
    clock.forward(minutes=1)
    assert sorted(work(vault)) == ["done"] * 3


def test_a_person_stops_a_waiting_run_and_starts_it_again(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    run_acts.stop(of("acme").pk, clock(), **WHY)
    assert sorted(work(vault)) == ["done"] * 2 and report(vault).counts == {"filled": 2, "stopped": 1} and report(vault).red
    run_acts.run_now(of("acme").pk, clock(), **WHY)
    assert work(vault) == ["done"]
    with pytest.raises(RunRefused, match="done cannot become owed"):
        run_acts.run_now(of("acme").pk, clock(), **WHY)


def test_a_running_run_stops_at_its_next_step(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    attempt = runs._begin(vault, of("acme"))
    assert attempt is not None
    attempt.told("rows: 10 so far", clock())
    assert of("acme").progress == "rows: 10 so far"
    run_acts.stop(of("acme").pk, clock(), **WHY)
    with pytest.raises(runs.RunStopped):
        attempt.told("rows: 20 so far", clock())


def test_run_now_does_not_wait_for_the_nights_start(night: None, vault: Vault, clock: Clock) -> None:
    clock.now = datetime(2026, 3, 10, 15, 0, tzinfo=UTC)
    assert work(vault) == []
    run_acts.run_now(of("acme").pk, clock(), **WHY)
    assert work(vault) == ["done"] and not of("acme").late


def test_a_pause_holds_for_the_nights_until_its_end_and_ends_by_itself(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    run_acts.pause(of("acme").pk, clock(), until=datetime(2026, 3, 12, 15, 0, tzinfo=UTC), **WHY)
    for _ in range(2):
        assert sorted(work(vault)) == ["done"] * 2
        clock.forward(days=1)
    assert of("acme", date(2026, 3, 11)).paused_by == "ada"
    assert sorted(work(vault)) == ["done"] * 3  # the evening of the twelfth
    assert report(vault, TENTH).counts == {"filled": 2, "paused": 1} and not report(vault, TENTH).red


def test_a_resumed_pause_is_over_for_later_nights_too(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    run_acts.pause(of("acme").pk, clock(), until=datetime(2026, 3, 20, tzinfo=UTC), **WHY)
    clock.forward(days=1)
    runs.owe_nights(clock())
    run_acts.resume(of("acme", date(2026, 3, 11)).pk, clock(), **WHY)
    work(vault)
    clock.forward(days=1)
    assert sorted(work(vault)) == ["done"] * 3
    assert of("acme", TENTH).state == "paused"


def test_an_excused_night_is_counted_as_that(night: None, vault: Vault, clock: Clock) -> None:
    runs.owe_nights(clock())
    run_acts.excuse(of("acme").pk, clock(), **WHY)
    work(vault)
    assert report(vault).counts == {"filled": 2, "excused": 1} and not report(vault).red


def test_nothing_is_done_to_a_run_without_a_reason(night: None, clock: Clock) -> None:
    runs.owe_nights(clock())
    with pytest.raises(RunRefused, match="Say why"):
        run_acts.stop(of("acme").pk, clock(), reason=" ")
    assert of("acme").state == "owed" and not of("acme").acts.exists()


def test_a_policy_change_is_a_new_version_and_a_shorter_one_takes_another_person(
    transactional_db: None, acting: Any, tmp_path: Path
) -> None:
    policies.ensure_first_policy()
    assert not policies.ensure_first_policy()
    longer = policies.change_policy(reason="new contract", nightly_days=35)
    assert (longer.number, longer.made_by, longer.history.get().history_stream) == (2, "ada", runs.SYSTEM_STREAM)
    with pytest.raises(policies.PolicyRefused, match="another person"):
        policies.change_policy(reason="too large", nightly_days=10, approved_by="ada")
    assert policies.change_policy(reason="too large", nightly_days=10, approved_by="bo").number == 3
    with pytest.raises(policies.PolicyRefused, match="Nothing would change"):
        policies.change_policy(reason="again", nightly_days=10)
    assert [one.nightly_days for one in policies.versions()] == [28, 35, 10]
