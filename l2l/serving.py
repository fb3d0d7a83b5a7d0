"""The supervisor: starts the web and the queue's clusters, starts again what dies or hangs, and leaves nothing behind (design section 10).

Each child leads a process group of its own, and every process in it dies with its parent. That closes what django-q leaves open: orphans
of a killed master that go on working, a killed sentinel after which the master ends as if all were well, and a cluster that hangs for ever
because a killed worker held the lock of its queue. A group is killed whole before its child is started again; runs whose process went
that way become due again, and what they stored is used.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection, connections
from django.utils import timezone

from backups import heartbeats, queueing
from backups.hot.shipper import BEAT as SHIPPER
from l2l import schedules
from l2l.orphans import die_with_parent, let_forks_die_with_us

LOOK_EVERY = 0.2
WATCH_EVERY = 10.0
LIVED = 5.0
TRIES = 3
LONGEST_WAIT = 60.0
SHIPPER_PATIENCE = 30.0


class DoesNotStart(Exception):
    """Something cannot be started; the message says what, and what to do."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a child is: `watched` ones must give signs of life, at least every `patience` seconds."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    watched: bool = False
    patience: float = settings.L2L_STALL_SECONDS


def web(host: str, port: int) -> Kind:
    options = (
        "--config",
        "python:l2l.web_process",
        "--bind",
        f"{host}:{port}",
        "--workers",
        "2",
        "--timeout",
        "600",
        "--log-level",
        "warning",
    )
    return Kind("web", (sys.executable, "-m", "gunicorn", "l2l.wsgi", *options))


def cluster(name: str) -> Kind:
    manage = str(Path(settings.BASE_DIR) / "manage.py")
    return Kind(name, (sys.executable, manage, "cluster", name), {"Q_CLUSTER_NAME": name}, watched=True)


def shipper() -> Kind:
    """The hot shipper. One that was stopped in the middle of a write keeps everybody out of SQLite, so it is not waited for long."""
    manage = str(Path(settings.BASE_DIR) / "manage.py")
    return Kind(SHIPPER, (sys.executable, manage, "hotbackup"), watched=True, patience=SHIPPER_PATIENCE)


def of_queue(only: str | None = None) -> list[Kind]:
    """What works beside the web: the queue's clusters and the hot shipper, or one of them."""
    kinds = [cluster(queueing.WORKER), cluster(queueing.DESTROYER), shipper()]
    return [kind for kind in kinds if only in (None, kind.name)]


def refuse_taken(host: str, port: int) -> None:
    """`DoesNotStart` when something else listens there, or the address is none of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as problem:
            raise DoesNotStart(f"{host}:{port} cannot be used ({problem.strerror}). Stop what uses it, or choose another --port.") from None


def run_cluster(name: str) -> None:
    """Becomes one cluster of the queue, until it is told to stop. `Q_CLUSTER_NAME` names it in the environment."""
    from django_q.cluster import Cluster
    from django_q.conf import Conf

    if name != Conf.CLUSTER_NAME:
        raise DoesNotStart(f"Q_CLUSTER_NAME must be {name} in the environment of this process.")
    let_forks_die_with_us()
    schedules.keep()
    queueing.forget(name)
    if name == queueing.WORKER:
        queueing.look_now()
    connections.close_all()  # no connection may be shared with the processes to be forked
    Cluster().start()


class Child:
    """One child and its group, with when to start it again."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at: datetime = timezone.now()
        self.began = 0.0
        self.start_after = 0.0
        self.failures = 0
        self.ever_lived = False

    @property
    def alive(self) -> bool:
        """Asked without taking its exit status, so that its group's number cannot be given to others before the group is killed."""
        return self.process is not None and os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603  (our own command lines)
            self.kind.command,
            env=os.environ | self.kind.environment,
            cwd=settings.BASE_DIR,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, os.getpid()),  # safe: the supervisor has one thread
        )
        self.began, self.started_at = time.monotonic(), timezone.now()

    def tell(self, sign: int) -> None:
        if self.process is not None and self.alive:
            os.kill(self.process.pid, sign)

    def kill_group(self) -> int:
        """Ends every process of the group; returns the child's exit status."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status, self.process = self.process.wait(), None
        return status

    def note_end(self, status: int) -> None:
        """Decides when to start again: soon after a life, later and later after failures to live. To be killed is no failure of its own."""
        lived = time.monotonic() - self.began >= LIVED
        self.ever_lived = self.ever_lived or lived or status <= 0
        self.failures = 1 if lived else self.failures + 1
        self.start_after = time.monotonic() + min(2.0 ** (self.failures - 1), LONGEST_WAIT)

    def pids(self) -> list[int]:
        """The living processes of its group."""
        return members(self.process.pid) if self.process is not None else []


def members(group: int) -> list[int]:
    """The numbers of the living processes of a process group."""
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and _group_of(path) == group]


def _group_of(path: Path) -> int | None:
    try:
        state, _, group, *_ = (path / "stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(group)


def stalled(last_sign: datetime | None, started_at: datetime, now: datetime, limit: timedelta) -> bool:
    """Whether a cluster gave no sign of life for too long; one that has just started gets as long for its first."""
    return now - max(started_at, last_sign or started_at) > limit


class Supervisor:
    """Runs its children until SIGTERM or SIGINT; `say` tells people what happens."""

    def __init__(self, kinds: Sequence[Kind], say: Callable[[str], None]) -> None:
        self.children = [Child(kind) for kind in kinds]
        self.say = say
        self.stopping = False
        self._watch_at = time.monotonic() + WATCH_EVERY
        self._answered_at = time.monotonic()

    def run(self) -> None:
        """Returns when it was told to stop and all is stopped. When a child never lives it stops the others and raises `DoesNotStart`."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, self._asked_to_stop)
        connections.close_all()
        try:
            while not self.stopping:
                self.look()
                time.sleep(LOOK_EVERY)
        finally:
            self.stop()

    def look(self) -> None:
        """One pass: buries what died, starts what is not there, and now and then watches for what hangs."""
        for child in self.children:
            if child.process is not None and not child.alive:
                self._bury(child)
            if child.process is None and time.monotonic() >= child.start_after:
                child.start()
        if time.monotonic() >= self._watch_at:
            self._watch_at = time.monotonic() + WATCH_EVERY
            self.watch()

    def _bury(self, child: Child) -> None:
        status = child.kill_group()
        child.note_end(status)
        if child.failures >= TRIES and not child.ever_lived:
            raise DoesNotStart(f"{child.kind.name} does not start (it ended with {status}, {TRIES} times). What it said stands above.")
        self.say(f"{child.kind.name} ended with {status}; it is started again.")

    def watch(self) -> None:
        """Kills children that hang, and mends the schedules.

        A database that cannot be read is not the cluster's fault. One that can be read and not written may be: on SQLite a process that
        was stopped in the middle of a transaction keeps all others out until it is killed. So this only reads, and comes first. One that
        was stopped while it recovered SQLite's log keeps even readers out.
        """
        for step in (self._end_stalled, self._keep_schedules):
            try:
                step()
            except DatabaseError as problem:
                self.say(f"The database cannot be asked ({problem}).")
                if connection.vendor == "sqlite":
                    self._end_who_may_keep_us_out()
            finally:
                connections.close_all()

    def _end_who_may_keep_us_out(self) -> None:
        """After a while without an answer: the clusters may hold the lock, and to be killed does them no harm."""
        if time.monotonic() - self._answered_at > settings.L2L_STALL_SECONDS:
            self._answered_at = time.monotonic()
            for child in self.children:
                if child.kind.watched and child.process is not None:
                    self._end(child, None)

    def _keep_schedules(self) -> None:
        if any(child.kind.watched for child in self.children) and schedules.keep():
            self.say("Schedules were not as the code has them; they are put right.")

    def _end_stalled(self) -> None:
        for child in self.children:
            if child.kind.watched and child.process is not None:
                sign = heartbeats.last_sign(child.kind.name, child.pids())
                if stalled(sign, child.started_at, timezone.now(), timedelta(seconds=child.kind.patience)):
                    self._end(child, sign)
        self._answered_at = time.monotonic()

    def _end(self, child: Child, sign: datetime | None) -> None:
        since = f"since {sign:%H:%M:%S} UTC" if sign else "ever"
        self.say(f"{child.kind.name} gave no sign of life {since}; it is killed and started again.")
        child.note_end(child.kill_group())

    def _asked_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def stop(self) -> None:
        """Asks every child to end, waits, and kills what is left of each group."""
        for child in self.children:
            child.tell(signal.SIGTERM)
        deadline = time.monotonic() + settings.L2L_STOP_SECONDS
        while any(child.alive for child in self.children) and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
        for child in self.children:
            if child.process is not None:
                self.say(f"{child.kind.name} is stopped{' (killed)' if child.alive else ''}.")
                child.kill_group()
