"""Real shippers, killed and paused at random moments under writing: every committed change is whole at every location, once, in one
chain."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

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
        one.init()
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
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        holder = home.manage("shell", "-v", "0", "-c", LEADER).strip()
        if holder and holder != other_than and str(holder.split(":")[1]) in {str(one.pid) for one in shippers.running}:
            return holder
    raise AssertionError(f"nobody leads: {shippers.said.read_text()[-2000:]}")


# Of each location the numbers of the segments that it has and of those that it lacks, and since how many seconds the oldest change of
# these waits; `last` is the newest segment whose making has begun.
SHIPPED = """
import json
from django.db.models import Max
from audit.clock import database_now
from backups.models import Location, LossHour, Segment, SegmentCopy

def told(copies):
    lacks = copies.filter(durable_at=None)
    oldest = [one.segment.oldest_at for one in lacks.select_related("segment").order_by("segment")[:1] if one.segment.oldest_at]
    return {
        "has": list(copies.exclude(durable_at=None).values_list("segment", flat=True)),
        "lacks": list(lacks.values_list("segment", flat=True)),
        "waits": max([(database_now() - at).total_seconds() for at in oldest], default=0.0),
    }

found = {one.name: told(SegmentCopy.objects.filter(location=one)) for one in Location.objects.all()}
longest = max(LossHour.objects.filter(location__name="offsite").values_list("longest", flat=True), default=0.0)
print(json.dumps({**found, "longest": longest, "last": Segment.objects.aggregate(n=Max("number"))["n"] or 0}))
"""
OUTAGE = 5


def shipped(home: Home) -> dict[str, Any]:
    return dict(json.loads(home.manage("shell", "-v", "0", "-c", SHIPPED)))


def until(home: Home, true: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """What the database tells once it is so."""
    deadline = time.monotonic() + PATIENCE
    while not true(found := shipped(home)):
        assert time.monotonic() < deadline, f"{what}: {found}"
        time.sleep(1)
    return found


def test_a_location_out_of_reach_holds_nobody_up_and_is_caught_up(home, tmp_path):
    stop, offsite = tmp_path / "stop", home.folder / "locations" / "offsite"
    shippers, writing = Shippers(home, 1), writers(home, stop)
    try:
        until(home, lambda at: len(at["offsite"]["has"]) > 1, "nothing is shipped")
        offsite.rename(tmp_path / "away")
        before = shipped(home)["last"]
        during = until(home, lambda at: len(after(before, at["primary"]["has"])) >= OUTAGE, "an outage elsewhere holds up the primary")
        assert not after(before, during["offsite"]["has"])
        (tmp_path / "away").rename(offsite)
        until(home, lambda at: not set(during["offsite"]["lacks"]) & set(at["offsite"]["lacks"]), "the location is not caught up")
    finally:
        stop.touch()
        said = [one.communicate() for one in writing]
        shippers.end()
    assert not any(err for _, err in said)
    assert during["offsite"]["waits"] > 0 and shipped(home)["longest"] >= during["offsite"]["waits"], "no loss window tells of the outage"
    check(home)


def after(number: int, segments: list[int]) -> list[int]:
    """Those whose making began later."""
    return [one for one in segments if one > number]
