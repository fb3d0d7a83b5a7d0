"""One holder at a time; who lost its lease writes nothing; a process that is gone holds up nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from backups.errors import Busy, LeaseLost
from backups.leases import LENGTH, MAKING_KEY, fenced, holding, process_name, release, take
from backups.models import Lease, Location
from tests.home import PROJECT

pytestmark = pytest.mark.django_db

NAME = "stream:a"
ELSEWHERE = "another-machine:17:1234"

HOLDER = """
import sys, django
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
django.setup()
from django.utils import timezone
from backups.leases import take
take(sys.argv[2], doing="backup", clock=timezone.now)
print("held", flush=True)
sys.stdin.read()
"""


def test_each_holder_has_the_next_epoch(clock: Any) -> None:
    epochs = []
    for _ in range(3):
        with holding(NAME, doing="backup", clock=clock) as lease:
            epochs.append(lease.epoch)
    assert epochs == [1, 2, 3]


def test_who_comes_second_reads_who_is_at_what_since_when(clock: Any) -> None:
    with holding(NAME, doing="backup", clock=clock):
        clock.forward(seconds=30)
        with pytest.raises(Busy) as busy, holding(NAME, doing="prune", clock=clock):
            pass
    assert process_name() in str(busy.value)
    assert "at 'backup' since 2026-03-10 02:00:00 UTC" in str(busy.value) and "runs out at 02:02:00 UTC" in str(busy.value)


def test_who_meets_a_key_that_is_being_made_waits_for_it(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    making = take("stream:acme", doing=MAKING_KEY, clock=clock)
    monkeypatch.setattr("backups.leases.time.sleep", lambda seconds: release(making))
    with holding("stream:acme", doing="backup", clock=clock) as held:
        assert held.epoch == making.epoch + 1


def test_who_no_longer_wants_it_once_it_is_his_leaves_it_as_it_was(clock: Any) -> None:
    def unwanted() -> None:
        raise KeyError

    for epoch in (1, 2):
        with pytest.raises(KeyError):
            take(NAME, doing="backup", clock=clock, wanted=unwanted)
        with holding(NAME, doing="backup", clock=clock) as lease:
            assert lease.epoch == epoch


@pytest.mark.django_db(transaction=True)
def test_a_lease_given_back_early_is_not_taken_from_the_next_holder(clock: Any) -> None:
    with holding(NAME, doing="backup", clock=clock) as first:
        with fenced(first):
            release(first)
        second = take(NAME, doing="backup", clock=clock)
    with fenced(second):
        pass
    with pytest.raises(LeaseLost), fenced(first):
        pass


def test_another_stream_is_not_held_up(clock: Any) -> None:
    with holding(NAME, doing="backup", clock=clock), holding("stream:b", doing="backup", clock=clock) as other:
        assert other.epoch == 1


def test_it_is_free_after_an_exception(clock: Any) -> None:
    with pytest.raises(ValueError, match="broken"), holding(NAME, doing="backup", clock=clock):
        raise ValueError("broken")
    assert take(NAME, doing="backup", clock=clock).epoch == 2


def test_a_lease_is_taken_over_when_its_time_is_over_and_not_before(clock: Any) -> None:
    take(NAME, doing="backup", clock=clock, holder=ELSEWHERE)
    clock.forward(seconds=LENGTH.total_seconds() - 1)
    with pytest.raises(Busy, match=ELSEWHERE):
        take(NAME, doing="backup", clock=clock)
    clock.forward(seconds=1)
    assert take(NAME, doing="backup", clock=clock).epoch == 2


def test_the_old_holder_writes_nothing_any_more(clock: Any) -> None:
    old = take(NAME, doing="backup", clock=clock, holder=ELSEWHERE)
    clock.forward(minutes=3)
    take(NAME, doing="backup", clock=clock)
    with pytest.raises(LeaseLost, match="Run it again"), fenced(old):
        Location.objects.create(name="written", url="file:///")
    assert not Location.objects.exists()


def test_who_slept_past_its_time_writes_nothing_even_if_nobody_took_over(clock: Any) -> None:
    held = take(NAME, doing="backup", clock=clock)
    clock.forward(seconds=LENGTH.total_seconds())
    with pytest.raises(LeaseLost), fenced(held):
        pass
    with pytest.raises(LeaseLost):
        held.keep()


def test_a_fenced_write_that_fails_leaves_nothing(clock: Any) -> None:
    held = take(NAME, doing="backup", clock=clock)
    with pytest.raises(ValueError, match="broken"), fenced(held):
        Location.objects.create(name="written", url="file:///")
        raise ValueError("broken")
    assert not Location.objects.exists()


def test_steps_within_a_step_are_one_and_the_next_step_is_checked_again(clock: Any) -> None:
    held = take(NAME, doing="backup", clock=clock)
    with pytest.raises(ValueError, match="broken"), fenced(held):
        with fenced(held):
            Location.objects.create(name="written", url="file:///")
        raise ValueError("broken")
    assert not Location.objects.exists()
    clock.forward(minutes=3)
    with pytest.raises(LeaseLost), fenced(held):
        pass


def test_keep_renews_after_a_third_of_the_time(clock: Any, django_assert_num_queries: Any) -> None:
    held = take(NAME, doing="backup", clock=clock)
    until = Lease.objects.get(pk=NAME).expires_at
    clock.forward(seconds=LENGTH.total_seconds() / 3 - 1)
    with django_assert_num_queries(0):
        held.keep()
    assert Lease.objects.get(pk=NAME).expires_at == until
    clock.forward(seconds=1)
    held.keep()
    assert Lease.objects.get(pk=NAME).expires_at == clock.now + LENGTH
    with django_assert_num_queries(0):
        held.keep()


def test_a_lease_that_is_kept_lasts_for_hours(clock: Any) -> None:
    held = take(NAME, doing="backup", clock=clock, holder=ELSEWHERE)
    for _ in range(200):
        clock.forward(seconds=50)
        held.keep()
    with pytest.raises(Busy):
        take(NAME, doing="prune", clock=clock)


def test_keep_says_that_the_lease_was_lost(clock: Any) -> None:
    held = take(NAME, doing="backup", clock=clock, holder=ELSEWHERE)
    clock.forward(minutes=3)
    new = take(NAME, doing="prune", clock=clock)
    with pytest.raises(LeaseLost):
        held.keep()
    new.keep()


def test_giving_back_what_was_lost_disturbs_nobody(clock: Any) -> None:
    old = take(NAME, doing="backup", clock=clock, holder=ELSEWHERE)
    clock.forward(minutes=3)
    take(NAME, doing="prune", clock=clock)
    release(old)
    with pytest.raises(Busy, match="'prune'"):
        take(NAME, doing="backup", clock=clock)


@contextmanager
def holder_process() -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease and waits."""
    arguments = [sys.executable, "-c", HOLDER, str(connection.settings_dict["NAME"]), NAME]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    with subprocess.Popen(arguments, cwd=PROJECT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.mark.django_db(transaction=True)
def test_a_process_that_was_killed_holds_up_nobody() -> None:
    """Dead is dead: before its parent looked (a zombie, for ever so in some containers) as well as afterwards."""
    with holder_process() as process:
        with pytest.raises(Busy, match=f":{process.pid}:"):
            take(NAME, doing="backup", clock=timezone.now)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        release(take(NAME, doing="backup", clock=timezone.now))
        process.wait()
        gone = process_name().replace(f":{os.getpid()}:", f":{process.pid}:")
        take(NAME, doing="backup", clock=timezone.now, holder=gone)
        assert take(NAME, doing="backup", clock=timezone.now).epoch == 4


@pytest.mark.django_db(transaction=True)
def test_of_many_that_ask_at_once_one_has_it() -> None:
    together = threading.Barrier(4)

    def attempt(_: int) -> int | None:
        try:
            together.wait(timeout=30)
            return take(NAME, doing="backup", clock=timezone.now).epoch
        except Busy:
            return None
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        for epoch in range(1, 6):
            assert sorted(filter(None, threads.map(attempt, range(4)))) == [epoch]
            Lease.objects.update(expires_at=timezone.now())
