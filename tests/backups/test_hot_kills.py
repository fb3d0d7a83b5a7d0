"""Real shippers, killed and paused at random moments under writing: every committed change is whole at every location, once, in one
chain."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from tests.both_databases import postgresql
from tests.home import PROJECT, Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

LEASE = 5
# Each costs a start of a process. The judged ones are PostgreSQL's.
KILLS = {"postgresql": 50, "sqlite": 20}
PATIENCE = 180.0
ADD = """
import audit
from datetime import date
from subscriptions.onboarding import add_customer
with audit.acting("test", reason="a test", source="test"):
    for n in range(3):
        add_customer(f"customer-{n}", f"Customer {n}", start=date(2026, 1, 1))
"""
WRITE = "import sys, django; django.setup(); from tests.backups.hot_writer import main; main(*sys.argv[1:])"
CHECK = "from tests.backups.hot_check import main; main()"
LEADER = "print((__import__('backups.models').models.Lease.objects.filter(name='hot').values_list('holder', flat=True).first() or ''))"


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        settings = {"L2L_HOT_LEASE_SECONDS": str(LEASE), "L2L_LOG_LEVEL": "ERROR"}
        one = Home(tmp_path / "home", settings | ({"DATABASE_URL": url} if url else {}))
        one.folder.mkdir()
        one.manage("init")
        one.manage("shell", "-v", "0", "-c", ADD)
        yield one


class Shippers:
    """Two shippers, one of which leads; each that ends is replaced."""

    def __init__(self, home: Home, seed: int) -> None:
        self.home, self.chosen = home, random.Random(seed)
        self.said = home.folder / "said"
        self.running = [self._start(), self._start()]

    def _start(self) -> subprocess.Popen[str]:
        return self.home.start("hotbackup", said=self.said)

    def strike(self, sign: int) -> None:
        """One of them, whichever it is."""
        at = self.chosen.randrange(2)
        victim = self.running[at]
        if sign == signal.SIGSTOP:
            os.kill(victim.pid, signal.SIGSTOP)
            time.sleep(LEASE * (1.2 + self.chosen.random()))
            os.kill(victim.pid, signal.SIGCONT)
            return
        victim.kill()
        victim.wait()
        self.running[at] = self._start()

    def end(self) -> None:
        for one in self.running:
            one.terminate()
        for one in self.running:
            with suppress(subprocess.TimeoutExpired):
                one.wait(30)
            one.kill()
            one.wait()


def writers(home: Home, stop: Path, pause: float = 0.03) -> list[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITE]
    return [
        subprocess.Popen(
            [*command, str(seed), str(stop), str(pause)],
            env=home.environment,
            cwd=PROJECT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for seed in (1, 2)
    ]


def check(home: Home) -> None:
    """Ships the rest, and looks."""
    deadline = time.monotonic() + PATIENCE
    while (done := home.run("hotbackup", "--once")).returncode and time.monotonic() < deadline:
        time.sleep(1)
    assert done.returncode == 0, done.stderr
    looked = home.run("shell", "-v", "0", "-c", CHECK)
    assert looked.returncode == 0, looked.stdout[-3000:] + looked.stderr[-3000:]
    print(looked.stdout)


def test_kills_and_pauses_lose_and_double_nothing(home, tmp_path):
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    stop = tmp_path / "stop"
    shippers, writing = Shippers(home, seed), writers(home, stop)
    try:
        for strike in range(KILLS["postgresql" if "DATABASE_URL" in home.settings else "sqlite"]):
            time.sleep(shippers.chosen.random() * 2.0)
            shippers.strike(signal.SIGSTOP if strike % 10 == 9 else signal.SIGKILL)
    finally:
        stop.touch()
        said = [one.communicate() for one in writing]
        shippers.end()
    committed = [int(out) if out else err for out, err in said]
    assert all(isinstance(count, int) for count in committed), committed
    assert min(committed) > 20, f"the writers hardly wrote: {committed}\n{shippers.said.read_text()[-3000:]}"
    check(home)


def test_a_standby_leads_soon_after_the_leader_is_killed(home):
    shippers = Shippers(home, 1)
    try:
        first = _leader(home, shippers, "")
        [leading] = [one for one in shippers.running if str(one.pid) == first.split(":")[1]]
        began = time.monotonic()
        leading.kill()
        leading.wait()
        assert _leader(home, shippers, first)
        print(f"another led after {time.monotonic() - began:.1f} s, a command's start included")
    finally:
        shippers.end()


def _leader(home: Home, shippers: Shippers, other_than: str) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        holder = home.manage("shell", "-v", "0", "-c", LEADER).strip()
        if holder and holder != other_than and str(holder.split(":")[1]) in {str(one.pid) for one in shippers.running}:
            return holder
    raise AssertionError(f"nobody leads: {shippers.said.read_text()[-2000:]}")


OUTAGE = float(os.environ.get("OUTAGE_SECONDS") or 15.0)
CAUGHT_UP = 3.0
AGES = """
from django.utils import timezone
from django.db.models import Min
from backups.models import SegmentCopy
owed = SegmentCopy.objects.filter(durable_at=None).values_list("location__name").annotate(oldest=Min("segment__made_at"))
print({name: (timezone.now() - oldest).total_seconds() for name, oldest in owed})
"""
# The worst hour of each location.
LONGEST = "print({one.location.name: one.longest for one in __import__('backups.models').models.LossHour.objects.order_by('longest')})"


def ages(home: Home) -> dict[str, float]:
    """For each location that is owed a segment, since how many seconds."""
    return dict(ast.literal_eval(home.manage("shell", "-v", "0", "-c", AGES)))


def test_a_location_out_of_reach_holds_nobody_up_and_is_caught_up(home, tmp_path):
    stop, offsite = tmp_path / "stop", home.folder / "locations" / "offsite"
    shippers, writing = Shippers(home, 1), writers(home, stop)
    try:
        time.sleep(5)
        offsite.rename(tmp_path / "away")
        time.sleep(OUTAGE)
        during = ages(home)
        (tmp_path / "away").rename(offsite)
        deadline = time.monotonic() + PATIENCE
        while ages(home).get("offsite", 0.0) > CAUGHT_UP:  # what was made just now is on its way
            assert time.monotonic() < deadline, "the location was not caught up"
            time.sleep(1)
    finally:
        stop.touch()
        said = [one.communicate() for one in writing]
        shippers.end()
    assert not any(err for _, err in said)
    assert during["offsite"] >= OUTAGE - 5
    assert during.get("primary", 0.0) < during["offsite"] / 2
    longest = dict(ast.literal_eval(home.manage("shell", "-v", "0", "-c", LONGEST)))
    assert longest["offsite"] >= OUTAGE - 5, "the loss window did not tell of the outage"
    assert longest["primary"] < longest["offsite"]
    check(home)
