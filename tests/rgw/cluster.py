"""Throwaway Ceph clusters that speak S3, real ones: a monitor, a disk of its own (a sparse file) and a gateway, on loopback alone.

They need Debian's `radosgw`, `ceph-mon` and `ceph-osd`, no root and no system service. What was learned on the way:

* Without authentication (`auth_*_required = none`) the gateway never answers; so all share one keyring.
* Stopped is the gateway first, then the disk, then the monitor: each waits for ever for the one below it.
* A monitor proposes once a second by default, and making pools needs dozens of proposals: with 0.05 s a cluster is up in 6 s, not 17.
* A killed gateway's watches outlive it by 30 s, in which whatever makes a user or a bucket waits; here by 4 s.
* Without `tcp_nodelay=1` each answer with a short body takes 45 ms instead of 5, for it waits for an acknowledgement that is delayed.
* Without a manager its own health is a warning, which matters to nobody.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

_PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool")
_DAEMONS = ("client.rgw.a", "osd.0", "mon.a")
_PATIENCE_SECONDS = 90

_CONFIGURATION = """[global]
fsid = {fsid}
mon_host = [v2:127.0.0.1:{monitor}/0,v1:127.0.0.1:{monitor_v1}/0]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
keyring = {folder}/keyring
run_dir = {folder}/run
admin_socket = {folder}/run/$name.asok
pid_file = {folder}/run/$name.pid
log_file = {folder}/log/$name.log
mon_cluster_log_file = {folder}/log/cluster.log
crash_dir = {folder}/run
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_data_avail_warn = 1
mon_data_avail_crit = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
osd_client_watch_timeout = 4
auth_allow_insecure_global_id_reclaim = false
[mon.a]
mon_data = {folder}/mon
[osd.0]
osd_data = {folder}/osd
osd_objectstore = bluestore
bluestore_block_size = 10737418240
osd_memory_target = 1073741824
[client.rgw.a]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{gateway} tcp_nodelay=1
rgw_max_listing_results = {page}
"""


def missing_programs() -> list[str]:
    """What has to be installed before a cluster can be made; empty where all is there."""
    return [program for program in _PROGRAMS if shutil.which(program) is None]


class ClusterFailed(Exception):
    """A program of the cluster did not do what it should; the message ends with what it said."""


@dataclass(frozen=True)
class Cluster:
    """One cluster, all of it in `folder`. `page` is how many names one listing gives at most."""

    folder: Path
    page: int = 40

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{(self.folder / 'port').read_text()}"

    def make(self) -> None:
        """Made from nothing, and running."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("mon", "osd", "rgw", "run", "log"):
            (self.folder / name).mkdir(parents=True)
        fsid = self._configure()
        self._make_keyring()
        self._make_monitor(fsid)
        self._run("ceph-mon", "-i", "a")
        disk = str(uuid4())
        self._run("ceph", "osd", "new", disk)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._start_above_the_monitor()

    def start(self) -> None:
        """Answers when it returns. What was stored before is there, however it was stopped."""
        self._run("ceph-mon", "-i", "a")
        self._start_above_the_monitor()

    def stop(self) -> None:
        """In good order; takes ten seconds."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As in a power cut."""
        self._end(signal.SIGKILL)

    @property
    def running(self) -> bool:
        return any(_is_alive(pid) for pid in self._pids())

    def add_user(self, name: str, keys: tuple[str, str]) -> None:
        self.admin("user", "create", f"--uid={name}", f"--display-name={name}", f"--access-key={keys[0]}", f"--secret-key={keys[1]}")

    def limit(self, user: str, size: int) -> None:
        """The user's buckets hold `size` bytes each and no more, from now on."""
        self.admin("quota", "set", "--quota-scope=bucket", f"--uid={user}", f"--max-size={size}")
        self.admin("quota", "enable", "--quota-scope=bucket", f"--uid={user}")

    def admin(self, *arguments: str) -> Any:
        """What `radosgw-admin` answers."""
        command = self._command("radosgw-admin", arguments)
        done = subprocess.run(command, env=_environment(), capture_output=True, timeout=60, check=False)
        if done.returncode:
            raise ClusterFailed(f"radosgw-admin {arguments}: {done.stderr.decode()[-2000:]}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    def _configure(self) -> str:
        fsid = str(uuid4())
        gateway, monitor, monitor_v1 = _free_ports(3)
        text = _CONFIGURATION.format(fsid=fsid, folder=self.folder, page=self.page, gateway=gateway, monitor=monitor, monitor_v1=monitor_v1)
        (self.folder / "ceph.conf").write_text(text)
        (self.folder / "port").write_text(str(gateway))
        (self.folder / "monitors").write_text(f"[v2:127.0.0.1:{monitor},v1:127.0.0.1:{monitor_v1}]")
        return fsid

    def _make_keyring(self) -> None:
        everything = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
        keyring = str(self.folder / "keyring")
        self._run("ceph-authtool", keyring, "-C", "-g", "-n", "mon.", "--cap", "mon", "allow *")
        self._run("ceph-authtool", keyring, "-g", "-n", "client.admin", *everything)
        self._run("ceph-authtool", keyring, "-g", "-n", "osd.0", "--cap", "mon", "allow profile osd", "--cap", "osd", "allow *")
        self._run("ceph-authtool", keyring, "-g", "-n", "client.rgw.a", "--cap", "mon", "allow rw", "--cap", "osd", "allow rwx")

    def _make_monitor(self, fsid: str) -> None:
        monitors, keyring = str(self.folder / "monmap"), str(self.folder / "keyring")
        self._run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", (self.folder / "monitors").read_text(), monitors)
        self._run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors, "--keyring", keyring)

    def _start_above_the_monitor(self) -> None:
        self._run("ceph-osd", "-i", "0")
        self._run("radosgw", "-n", "client.rgw.a")
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._answers():
            if time.monotonic() > until:
                raise ClusterFailed(f"the gateway at {self.endpoint} does not answer; look into {self.folder}/log")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=5):
                return True
        except OSError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        """Into a file, not a pipe: a daemon that goes into the background would keep a pipe open."""
        with (self.folder / "log" / "programs.log").open("ab") as said:
            done = subprocess.run(
                self._command(program, arguments), env=_environment(), stdout=said, stderr=said, timeout=_PATIENCE_SECONDS, check=False
            )
        if done.returncode:
            raise ClusterFailed(f"{program} {arguments}: {(self.folder / 'log' / 'programs.log').read_text()[-2000:]}")

    def _command(self, program: str, arguments: tuple[str, ...]) -> list[str]:
        takes_none = program in ("ceph-authtool", "monmaptool")
        return [program, *arguments] if takes_none else [program, "-c", str(self.folder / "ceph.conf"), *arguments]

    def _pids(self) -> list[int]:
        """In the order in which they are to be stopped."""
        files = [self.folder / "run" / f"{daemon}.pid" for daemon in _DAEMONS]
        return [int(file.read_text()) for file in files if file.exists() and file.read_text().strip()]

    def _end(self, how: signal.Signals) -> None:
        for pid in self._pids():
            _end_process(pid, how)
        for daemon in _DAEMONS:
            (self.folder / "run" / f"{daemon}.pid").unlink(missing_ok=True)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CEPH_")}


def _free_ports(number: int) -> list[int]:
    """Below those that the system gives to outgoing connections, so that a stopped cluster finds its own again."""
    found: list[int] = []
    while len(found) < number:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in found:
                found.append(port)
    return found


def _is_alive(pid: int) -> bool:
    """A process that ended and that nobody has asked about is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _end_process(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)
    until = time.monotonic() + 15
    while _is_alive(pid):
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


@contextmanager
def shared(folder: Path, keys: tuple[str, str]) -> Iterator[Cluster]:
    """The cluster in `folder`, for several processes at once: the first to come makes it, the last to leave ends and removes it.

    Its user `app` has these keys. Each process holds a lock that the system takes back even if the process is killed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder)
    with folder.with_suffix(".users").open("a") as users:
        with turn(folder):
            fcntl.flock(users, fcntl.LOCK_SH)
            if not cluster.running:
                cluster.make()
                cluster.add_user("app", keys)
        try:
            yield cluster
        finally:
            with turn(folder), suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                cluster.kill()
                shutil.rmtree(folder)


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """One process at a time has its turn."""
    with folder.with_suffix(".turn").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
