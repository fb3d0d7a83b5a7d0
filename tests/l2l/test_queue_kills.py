"""Real processes, killed and stopped at random: no owed night is lost, none is filled twice (design section 10)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from tests.both_databases import postgresql
from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

SETTINGS = {"L2L_STALL_SECONDS": "100", "L2L_LEASE_SECONDS": "30", "L2L_STOP_SECONDS": "10", "L2L_LOG_LEVEL": "ERROR"}
# What is not done by then hangs: a cluster that hangs is found after the stall's seconds, a struck run waits a minute.
PATIENCE_SECONDS = 600.0
CUSTOMERS = 400

# A run that is struck is tried again after a minute, however often, and a night's runs are due as soon as it begins, whatever the hour
# is. It must be the policy's first version, for that counts for tonight.
POLICY = """
import audit
from audit import clock
from backups import policies
from backups.nights import NOON
from backups.policy import Policy
with audit.acting("test", reason="a test", source="test"):
    policy = Policy(1, clock.now(), night_starts=NOON, retry_minutes=(1,), max_attempts=100)
    policies._add(1, policy, zone="UTC", made_by="test", reason="a test")
"""
ADD = """
import audit
from datetime import date
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer
with audit.acting("test", reason="a test", source="test"):
    for n in range(%d):
        customer = add_customer(f"customer-{n}", f"Customer {n}", start=date(2026, 1, 1))
        DataRecord.objects.tracked_create(
            DataRecord(customer=customer, kind="part", reference=str(k), data={"Name": f"Part {k}", "Note": "x" * 80}) for k in range(6)
        )
"""
RUNS = "list(__import__('backups.models').models.Run.objects.values('id', 'state', 'night', 'attempts', 'stream__name', 'trouble'))"
SETS = (
    "list(__import__('backups.models').models.BackupSet.objects.filter(state='made')"
    ".values('stream__name', 'night', 'protected_at', 'absent_files'))"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        one = Home(tmp_path / "home", SETTINGS | ({"DATABASE_URL": url} if url else {}))
        one.folder.mkdir()
        one.migrate()
        one.manage("shell", "-v", "0", "-c", POLICY)
        one.init()
        one.manage("shell", "-v", "0", "-c", ADD % CUSTOMERS)
        yield one


@dataclass
class Worked:
    """A home whose queue is at work, and what was done to its processes. `seed` says what comes next, as far as the clock lets it."""

    home: Home
    seed: int
    supervisor: subprocess.Popen[str]
    stopped: set[int] = field(default_factory=set)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chosen = random.Random(self.seed)

    def __str__(self) -> str:
        return f"seed {self.seed}: {' '.join(self.done)}\n{self.said.read_text()[-5000:]}"

    @property
    def said(self) -> Path:
        """What the supervisors and their processes said."""
        return self.home.folder / "said"

    @property
    def parts(self) -> list[int]:
        """Every process of the worker cluster and of the destroyer: masters, sentinels, workers, pushers, monitors."""
        return [pid for pid in self.home.processes() if pid != self.supervisor.pid]

    def at_work(self) -> list[int]:
        """The processes that have begun a run; asked of the database directly, for runs are short."""
        rows = self.asked("SELECT holder FROM l2l_backups_run WHERE state = 'running'") or []
        parts = set(self.parts)
        return [pid for holder, *_ in rows if (pid := int(holder.split(":")[1])) in parts]

    def asked(self, statement: str) -> list[tuple[str, ...]] | None:
        """What the database answers; None from SQLite while a process that was stopped at the wrong moment keeps even readers out."""
        url = self.home.settings.get("DATABASE_URL")
        try:
            with closing(psycopg.connect(url) if url else sqlite3.connect(self.home.folder / "l2l.sqlite3")) as connection:
                return list(connection.execute(statement).fetchall())
        except sqlite3.OperationalError:
            return None

    def strike(self) -> None:
        """Kills, stops or wakes one of the processes, or kills the supervisor and starts another."""
        (how,) = self.chosen.choices([self.kill, self.stop, self.wake, self.kill_supervisor], [10, 4, 3, 1])
        how()

    def kill(self) -> None:
        self._send(signal.SIGKILL, self._victim())

    def kill_at_work(self) -> None:
        """One that is in the middle of a run for certain: stopped first, and looked for again."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            for pid in self.at_work():
                self._send(signal.SIGSTOP, pid)
                if pid in self.at_work():
                    return self._send(signal.SIGKILL, pid)
                self._send(signal.SIGCONT, pid)
            time.sleep(0.02)
        raise AssertionError(f"{self}: nobody began a run")

    def stop(self) -> None:
        pid = self._victim()
        self.stopped.add(pid)
        self._send(signal.SIGSTOP, pid)

    def wake(self) -> None:
        for pid in self.stopped & set(self.parts):
            self._send(signal.SIGCONT, pid)
        self.stopped.clear()

    def kill_supervisor(self) -> None:
        """What it leaves is dead before another begins: the kernel ends each process with its parent."""
        self.done.append("supervisor")
        self.supervisor.kill()
        self.supervisor.wait()
        give_up = time.monotonic() + PATIENCE_SECONDS
        while self.home.processes():
            assert time.monotonic() < give_up, f"{self}: {self.home.processes()}"
            time.sleep(0.1)
        self.supervisor = self.home.start("work", said=self.said)

    def end(self) -> None:
        """As a service manager ends it."""
        self.supervisor.terminate()
        assert self.supervisor.wait(PATIENCE_SECONDS) == 0, str(self)
        assert not self.home.processes(), str(self)

    def _victim(self) -> int:
        """Every second time one that is at work on a run, when there is one."""
        candidates = (self.chosen.random() < 0.5 and self.at_work()) or self.parts
        return self.chosen.choice(sorted(candidates)) if candidates else 0

    def _send(self, sign: signal.Signals, pid: int) -> None:
        if pid:
            self.done.append(f"{sign.name}:{pid}")
            with suppress(ProcessLookupError):
                os.kill(pid, sign)


@contextmanager
def working(home: Home, seed: int) -> Iterator[Worked]:
    """The queue's two clusters under their supervisor."""
    worked = Worked(home, seed, home.start("work", said=home.folder / "said"))
    try:
        yield worked
    finally:
        worked.supervisor.kill()  # and everything dies with it
        worked.supervisor.wait()


def wait_until_all_is_done(worked: Worked) -> None:
    """Until every run is, of all that are owed: on a busy machine the strikes may be over before the first one is written down."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (runs := worked.asked("SELECT state, attempts, trouble FROM l2l_backups_run")) is None or not _all_done(runs):
        waiting = [run for run in runs or [] if run[0] != "done"]
        assert time.monotonic() < give_up, f"{worked}: {len(runs or [])} runs, {waiting}"
        time.sleep(3)


def _all_done(runs: list[tuple[str, ...]]) -> bool:
    return len(runs) > CUSTOMERS and all(state == "done" for state, *_ in runs)


def assert_each_night_is_filled_once(worked: Worked) -> None:
    """One night is owed to each customer and to the system stream; each has one run, done, and one set, whole everywhere."""
    runs, sets = worked.home.ask(RUNS), worked.home.ask(SETS)
    assert Counter(run["state"] for run in runs) == {"done": CUSTOMERS + 1}, str(worked)
    owed = {(run["stream__name"], run["night"]) for run in runs}
    assert len(owed) == len({name for name, _ in owed}) == CUSTOMERS + 1, str(worked)
    assert Counter((one["stream__name"], one["night"]) for one in sets) == Counter(owed), str(worked)
    assert all(one["protected_at"] and not one["absent_files"] for one in sets), str(worked)


def test_random_kills_lose_no_night_and_fill_none_twice(home: Home) -> None:
    """Two worker processes and one destroyer, with all that keeps them, killed and stopped at random for two minutes (PostgreSQL)."""
    seconds = 120 if "DATABASE_URL" in home.settings else 40
    with working(home, int(os.environ.get("KILLS_SEED") or random.randrange(1_000_000))) as worked:
        worked.kill_at_work()
        killing_ends = time.monotonic() + seconds
        while time.monotonic() < killing_ends:
            time.sleep(0.5 + 2.5 * worked.chosen.random())
            assert worked.supervisor.poll() is None, str(worked)
            worked.strike()
        wait_until_all_is_done(worked)
        worked.wake()  # those that still sleep wake long after their lease was over
        time.sleep(5)
        assert_each_night_is_filled_once(worked)
        assert max(run["attempts"] for run in home.ask(RUNS)) > 1, f"{worked}: nobody was struck at work"
        worked.end()


def test_a_stopped_worker_that_wakes_after_its_lease_does_no_harm(home: Home) -> None:
    with working(home, 0) as worked:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not (found := worked.at_work()):
            assert time.monotonic() < give_up, "nobody began a run"
            time.sleep(0.02)
        os.kill(found[0], signal.SIGSTOP)
        wait_until_all_is_done(worked)
        with suppress(ProcessLookupError):  # on SQLite it may have kept everybody out, and was killed with its cluster
            os.kill(found[0], signal.SIGCONT)
        time.sleep(5)
        assert_each_night_is_filled_once(worked)
        worked.end()
