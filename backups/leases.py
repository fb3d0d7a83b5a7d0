"""One fenced lease per customer for backup, prune, mend, purge and destroy (design section 5).

The database row decides. A holder renews while it works; whoever finds the lease expired, or its holder's process gone from this machine,
takes it with the next epoch. `fenced` stands around every write of a holder: a process that slept past its time writes nothing.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction

from backups.errors import Busy, LeaseLost
from backups.models import Lease
from backups.statements import ask, change, locked

LENGTH = timedelta(seconds=settings.L2L_LEASE_SECONDS)

_TABLE = Lease._meta.db_table
_OURS = f"SELECT epoch FROM {_TABLE} WHERE name = %s AND epoch = %s AND expires_at > %s"  # noqa: S608  (names from the model)
_RELEASE = f"UPDATE {_TABLE} SET expires_at = %s WHERE name = %s AND epoch = %s"  # noqa: S608


@dataclass(slots=True)
class Held:
    """A lease that we hold: `epoch` is ours alone."""

    name: str
    epoch: int
    clock: Callable[[], datetime]
    renew_at: datetime
    inside: bool = False

    def keep(self) -> None:
        """Renews the lease when a third of its time has passed; `LeaseLost` when somebody else has it."""
        now = self.clock()
        if now >= self.renew_at:
            with fenced(self):
                Lease.objects.filter(name=self.name).update(expires_at=now + LENGTH)
            self.renew_at = now + LENGTH / 3


def lease_name(stream: uuid.UUID) -> str:
    return f"stream:{stream}"


def process_name() -> str:
    """`host:pid:start`, where `start` tells a process from a later one of the same number."""
    return f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"


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


def take(name: str, *, doing: str, clock: Callable[[], datetime], holder: str = "") -> Held:
    """The lease, with the next epoch. Raises `Busy` (who, since when) while another living holder has it."""
    now = clock()
    with transaction.atomic():
        row = Lease.objects.select_for_update().filter(name=name)
        lease = row.first()
        if lease is None:
            Lease.objects.bulk_create([Lease(name=name, taken_at=now, expires_at=now)], ignore_conflicts=True)
            lease = row.get()
        if lease.expires_at > now and not holder_is_gone(lease.holder):
            raise Busy(
                f"Another process ({lease.holder}) has been at '{lease.doing}' since {lease.taken_at:%Y-%m-%d %H:%M:%S} UTC. "
                f"Wait for it, or stop it; its time runs out at {lease.expires_at:%H:%M:%S} UTC."
            )
        lease.epoch += 1
        lease.holder, lease.doing = holder or process_name(), doing
        lease.taken_at, lease.expires_at = now, now + LENGTH
        lease.save()
    return Held(name, lease.epoch, clock, now + LENGTH / 3)


def release(held: Held) -> None:
    """Gives the lease back; nothing happens when it is ours no longer."""
    change(_RELEASE, held.clock(), held.name, held.epoch)


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
def holding(name: str, *, doing: str, clock: Callable[[], datetime]) -> Iterator[Held]:
    """The lease for the length of a block. A killed process gives nothing back: the next holder notices."""
    held = take(name, doing=doing, clock=clock)
    try:
        yield held
    except Exception:
        release(held)
        raise
    else:
        release(held)
