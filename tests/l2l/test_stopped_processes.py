"""A process that is stopped in the middle of a transaction keeps its locks; on PostgreSQL the server ends it, and nobody waits for ever."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from tests.both_databases import postgresql
from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

# The queue's transactions may sleep for a third of the stall's seconds, its locks are waited for half of them.
SETTINGS = {"L2L_STALL_SECONDS": "12", "L2L_LEASE_SECONDS": "12", "L2L_LOG_LEVEL": "ERROR", "Q_CLUSTER_NAME": "worker"}

ADD = """
import audit
from datetime import date
from django.utils import timezone
from backups import runs
from backups.models import Run
from subscriptions.onboarding import add_customer
with audit.acting("test", reason="a test", source="test"):
    add_customer("acme", "Acme", start=date(2026, 1, 1))
runs.owe_nights(timezone.now())
Run.objects.update(due_at=timezone.now(), next_try_at=timezone.now())  # at whatever time of the day this test runs
"""

WORK = """
import os, signal
from dataclasses import replace
from datetime import timedelta
from django.db import connection, transaction
from django.utils import timezone
from psycopg.pq import TransactionStatus
import audit
from backups import queueing, run_acts, runs, vault
from backups.leases import fenced, lease_name, take
from backups.models import Lease, Run

[owed] = Run.objects.filter(stream__name__contains="acme", kind=Run.Kind.BACKUP)

def stop():
    os.kill(os.getpid(), signal.SIGSTOP)

def stopping():
    "Asks the time, and sleeps when that is in the middle of a transaction."
    if connection.connection.info.transaction_status == TransactionStatus.INTRANS:
        stop()
    return timezone.now()

def later():
    "When the first attempt's lease is over."
    return timezone.now() + timedelta(minutes=10)
"""
AT_WORK = "at work, with its lease's row"
STOPPED = {
    AT_WORK: "runs.work_off(replace(vault.from_settings(), clock=stopping), owed.pk)",
    "queueing, with the run's row": "\nwith transaction.atomic():\n    queueing.queue([owed.pk], timezone.now())\n    stop()",
}
AGAIN = """
runs.recover(later())
run = runs.work_off(replace(vault.from_settings(), clock=later), owed.pk)
print(run.state, run.attempts, run.trouble)
"""
AT_ONCE = """
with audit.acting("ada"):
    run_acts.run_now(owed.pk, later(), reason="the command has ended")
"""
STAND = "print([(run.state, run.attempts) for run in Run.objects.filter(pk=owed.pk)])"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with postgresql() as url:
        one = Home(tmp_path / "home", SETTINGS | {"DATABASE_URL": url})
        one.init()
        one.manage("shell", "-v", "0", "-c", ADD)
        yield one


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


@contextmanager
def sleeper(home: Home, where: str) -> Iterator[subprocess.Popen[str]]:
    """A process that sleeps in the middle of its transaction."""
    process = home.start("shell", "-v", "0", "-c", WORK + STOPPED[where])
    try:
        give_up = time.monotonic() + 60
        while not is_asleep(process.pid):
            assert process.poll() is None and time.monotonic() < give_up, process.communicate()
            time.sleep(0.02)
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def shell(home: Home, code: str) -> str:
    return home.manage("shell", "-v", "0", "-c", WORK + code)


@pytest.mark.parametrize("where", list(STOPPED))
def test_the_next_attempt_gets_through_and_the_sleeper_wakes_to_nothing(home: Home, where: str) -> None:
    with sleeper(home, where) as asleep:
        assert shell(home, AGAIN).startswith("done ")
        stands = shell(home, STAND)
        asleep.send_signal(signal.SIGCONT)
        _, said = asleep.communicate(timeout=60)
    assert "terminating connection due to idle-in-transaction timeout" in said
    assert shell(home, STAND) == stands


def test_a_lock_that_a_command_keeps_is_a_trouble_that_is_tried_again(home: Home) -> None:
    """A command's transactions may last, for an upload may; so somebody who stops one in his terminal keeps its locks."""
    with sleeper(replace(home, settings=home.settings | {"Q_CLUSTER_NAME": ""}), AT_WORK) as asleep:
        again = shell(home, AGAIN)
        assert again.startswith("owed 2 ") and "canceling statement due to lock timeout" in again
        asleep.kill()
        asleep.communicate()
    assert shell(home, AT_ONCE + AGAIN).startswith("done 3 ")
