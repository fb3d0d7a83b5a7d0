"""The supervisor: decides what hangs, refuses what cannot be started, leaves nothing behind however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from backups import heartbeats
from l2l import schedules, serving
from l2l.serving import Child, DoesNotStart, Kind, Supervisor
from tests.home import PROJECT, Home

NOW = datetime(2026, 3, 10, 22, 0, tzinfo=UTC)
LIMIT = timedelta(minutes=3)


@pytest.mark.parametrize(
    ("last_sign", "started", "expected"),
    [(None, 1, False), (None, 4, True), (2, 60, False), (4, 60, True), (60, 2, False)],
)
def test_a_cluster_hangs_when_it_gave_no_sign_of_life_for_too_long(last_sign: int | None, started: int, expected: bool) -> None:
    """Minutes ago; a sign from before its start says nothing."""
    sign = NOW - timedelta(minutes=last_sign) if last_sign else None
    assert serving.stalled(sign, NOW - timedelta(minutes=started), NOW, LIMIT) is expected


def eventually(true: Callable[[], bool], seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return true()


def python(code: str) -> Kind:
    return Kind("child", (sys.executable, "-c", code))


def test_a_childs_whole_group_is_killed() -> None:
    child = Child(python("import os, time; os.fork(); time.sleep(60)"))
    child.start()
    assert eventually(lambda: len(child.pids()) == 2)
    group = child.process.pid  # type: ignore[union-attr]
    assert child.kill_group() == -signal.SIGKILL and eventually(lambda: not serving.members(group))


def test_orphans_of_a_dead_child_are_killed_before_it_is_started_again() -> None:
    child = Child(python("import os, time; os.fork() or time.sleep(60)"))  # the parent ends at once, its child would go on
    said: list[str] = []
    supervisor = Supervisor([], said.append)
    supervisor.children = [child]
    child.ever_lived = True
    supervisor.look()
    group = child.process.pid  # type: ignore[union-attr]
    assert eventually(lambda: not child.alive)
    supervisor.look()
    assert said == ["child ended with 0; it is started again."] and eventually(lambda: not serving.members(group))


def test_a_process_whose_parent_died_before_it_could_ask_ends_itself() -> None:
    """Forked by one that was killed a moment later: the kernel would never tell it."""
    code = "from l2l.orphans import die_with_parent; die_with_parent({}); print('lives')"
    for parent, said in ((os.getpid(), "lives\n"), (os.getppid(), "")):
        done = subprocess.run([sys.executable, "-c", code.format(parent)], capture_output=True, text=True, cwd=PROJECT, check=False)
        assert (done.stdout, done.returncode) == (said, 0 if said else 1)


def test_clusters_are_killed_when_sqlite_answers_nobody_for_too_long(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """One of their processes may have been stopped with the lock that keeps out even readers."""

    def locked(*arguments: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(heartbeats, "last_sign", locked)
    monkeypatch.setattr(schedules, "keep", lambda: 0)
    said: list[str] = []
    supervisor = Supervisor([replace(python("import time; time.sleep(60)"), watched=True)], said.append)
    (child,) = supervisor.children
    child.start()
    supervisor.watch()
    assert child.alive and said == ["The database cannot be asked (database is locked)."]
    settings.L2L_STALL_SECONDS = 0
    supervisor.watch()
    assert child.process is None and "it is killed and started again" in said[-1]


def test_what_never_starts_is_given_up() -> None:
    supervisor = Supervisor([python("raise SystemExit(3)")], lambda line: None)
    supervisor._watch_at = float("inf")

    def look() -> bool:
        supervisor.look()
        return False

    with pytest.raises(DoesNotStart, match="it ended with 3, 3 times"):
        eventually(look)


def test_a_port_that_is_taken_is_refused() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DoesNotStart, match="choose another --port"):
            serving.refuse_taken(*taken.getsockname())


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


# A set of the system stream is due at once: at some hours of the day its first night is not.
ASK = """
import audit
from audit.registry import SYSTEM_STREAM
from backups import run_acts, vault
with audit.acting("test", reason="a test", source="test"):
    run_acts.ask(SYSTEM_STREAM, vault.clock(), reason="a test")
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "home")
    one.init()
    one.manage("shell", "-v", "0", "-c", ASK)
    return one


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def serving_at(home: Home) -> tuple[subprocess.Popen[str], int]:
    port = free_port()
    process = home.start("serve", "--port", port)
    done = "__import__('backups.models').models.Run.objects.filter(kind='asked', state='done').count()"
    assert eventually(lambda: home.ask(done) == 1)
    assert eventually(lambda: answers(int(port)))
    return process, int(port)


@pytest.mark.slow
def test_serve_answers_works_off_what_is_due_and_stops_whole(home: Home) -> None:
    process, port = serving_at(home)
    second = home.run("serve", "--port", str(port))
    assert second.returncode == 1 and "choose another --port" in second.stderr
    process.terminate()
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0 and "worker is stopped." in out
    assert eventually(lambda: not home.processes())


@pytest.mark.slow
def test_a_killed_supervisor_takes_everything_with_it(home: Home) -> None:
    process, _ = serving_at(home)
    assert len(home.processes()) > 8
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: not home.processes())
