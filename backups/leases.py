"""One fenced lease per customer for backup, prune, mend, purge and destroy (design section 5).

The database row decides. A holder renews while it works; whoever finds the lease expired, or its holder's process gone from this machine,
takes it with the next epoch. `fenced` stands around every write of a holder: a process that slept past its time writes nothing.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path

from django.conf import settings
from django.db import transaction

from backups.errors import Busy, LeaseLost
from backups.models import Lease
from backups.statements import ask, change, locked

LENGTH = timedelta(seconds=settings.L2L_LEASE_SECONDS)
# What the hot shipper does with a new customer's lease: whoever else wants it waits that long rather than try again a minute later.
MAKING_KEY, KEY_SECONDS = "key", 10.0

_TABLE = Lease._meta.db_table
_OURS = f"SELECT epoch FROM {_TABLE} WHERE name = %s AND epoch = %s AND expires_at > %s"  # noqa: S608  (names from the model)
_TAKE = f"UPDATE {_TABLE} SET epoch = epoch + 1, holder = %s, doing = %s, taken_at = %s, expires_at = %s WHERE name = %s"  # noqa: S608
_TAKE_FREE, _TAKE = f"{_TAKE} AND expires_at <= %s RETURNING epoch", f"{_TAKE} RETURNING epoch"
_TAKE_FIRST = (
    f"INSERT INTO {_TABLE} (name, epoch, holder, doing, taken_at, expires_at) VALUES (%s, 1, %s, %s, %s, %s) "  # noqa: S608
    "ON CONFLICT DO NOTHING RETURNING epoch"
)
_RENEW = f"UPDATE {_TABLE} SET expires_at = %s WHERE name = %s"  # noqa: S608
_RELEASE = f"UPDATE {_TABLE} SET expires_at = %s WHERE name = %s AND epoch = %s"  # noqa: S608


@dataclass(slots=True)
class Held:
    """A lease that we hold: `epoch` is ours alone."""

    name: str
    epoch: int
    clock: Callable[[], datetime]
    renew_at: datetime
    length: timedelta = LENGTH
    inside: bool = False
    given_back: bool = False

    def keep(self) -> bool:
        """Renews the lease when a third of its time has passed, and tells whether; `LeaseLost` when somebody else has it."""
        if self.clock() < self.renew_at:
            return False
        with fenced(self):
            self.renew()
        return True

    def renew(self) -> None:
        """Its whole time from now on. Inside of `fenced`."""
        now = self.clock()
        change(_RENEW, now + self.length, self.name)
        self.renew_at = now + self.length / 3


def lease_name(stream: uuid.UUID) -> str:
    return f"stream:{stream}"


def process_name() -> str:
    """`host:pid:start`, where `start` tells a process from a later one of the same number."""
    return _named(os.getpid())


@lru_cache(maxsize=4)
def _named(pid: int) -> str:
    """Of a process of this machine that works, such as ours."""
    return f"{socket.gethostname()}:{pid}:{_started(pid)}"


# A fork is another process, and may have the number of one that its ancestors were.
os.register_at_fork(after_in_child=_named.cache_clear)


def _started(pid: int) -> str:
    """When the process of that number started, in the kernel's ticks; empty when there is none that still works."""
    try:
        state, *numbers = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if state in "ZX" else numbers[18]  # a zombie is dead, and only its parent has not looked yet


def holder_is_gone(holder: str) -> bool:
    """Whether the holder ran on this machine and does no longer. On another machine only time tells."""
    host, _, rest = holder.partition(":")
    pid, _, start = rest.partition(":")
    return host == socket.gethostname() and pid.isdigit() and bool(start) and _started(int(pid)) != start


def take(
    name: str,
    *,
    doing: str,
    clock: Callable[[], datetime],
    holder: str = "",
    wanted: Callable[[], None] = lambda: None,
    length: timedelta = LENGTH,
) -> Held:
    """The lease, with the next epoch, for `length` unless it is renewed. Raises `Busy` (who, since when) while another living holder has
    it.

    `wanted` is called once it is ours, in the same transaction: what it raises leaves the lease as it was.
    """
    now = clock()
    ours = (holder or process_name(), doing, now, now + length)
    with transaction.atomic():
        taken = ask(_TAKE_FREE, *ours, name, now) or ask(_TAKE_FIRST, name, *ours)
        if not taken:
            lease = Lease.objects.select_for_update().get(name=name)
            _refuse_busy(lease, now)
            taken = ask(_TAKE, *ours, name)
        wanted()
    [(epoch,)] = taken
    return Held(name, epoch, clock, now + length / 3, length)


def _refuse_busy(lease: Lease, now: datetime) -> None:
    if lease.expires_at > now and not holder_is_gone(lease.holder):
        raise Busy(
            f"Another process ({lease.holder}) has been at '{lease.doing}' since {lease.taken_at:%Y-%m-%d %H:%M:%S} UTC. "
            f"Wait for it, or stop it; its time runs out at {lease.expires_at:%H:%M:%S} UTC.",
            lease.doing,
        )


def release(held: Held) -> None:
    """Gives the lease back, with the caller's transaction where there is one; nothing happens when it is ours no longer."""
    if not held.given_back:
        change(_RELEASE, held.clock(), held.name, held.epoch)
        transaction.on_commit(partial(setattr, held, "given_back", True))


@contextmanager
def fenced(held: Held) -> Iterator[None]:
    """A transaction that commits only while the lease is ours; `LeaseLost` else. Inside of another of the same lease it is part of that."""
    if held.inside:
        yield
        return
    with transaction.atomic():
        if not ask(locked(_OURS), held.name, held.epoch, held.clock()):
            raise LeaseLost(f"The lease '{held.name}' ran out before this step could be recorded. Run it again.")
        held.inside = True
        try:
            yield
        finally:
            held.inside = False


@contextmanager
def holding(name: str, *, doing: str, clock: Callable[[], datetime], wanted: Callable[[], None] = lambda: None) -> Iterator[Held]:
    """The lease for the length of a block, as `take`, but after a key that is being made, which takes a moment. A killed process gives
    nothing back: the next holder notices."""
    held = _after_a_key(name, doing, clock, wanted)
    try:
        yield held
    except Exception:
        release(held)
        raise
    else:
        release(held)


def _after_a_key(name: str, doing: str, clock: Callable[[], datetime], wanted: Callable[[], None]) -> Held:
    deadline = time.monotonic() + KEY_SECONDS
    while True:
        try:
            return take(name, doing=doing, clock=clock, wanted=wanted)
        except Busy as busy:
            if busy.doing != MAKING_KEY or time.monotonic() > deadline:
                raise
        time.sleep(0.05)
