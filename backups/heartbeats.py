"""Signs of life of the processes at work: what a supervisor looks at to tell a busy cluster from one that hangs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.utils import timezone

from backups import leases
from backups.leases import process_name
from backups.models import Heartbeat, Lease

EVERY = 5.0
KEPT = timedelta(days=1)

_beaten: dict[tuple[str, int], float] = {}


def beat(name: str) -> None:
    """This process is alive and works for the cluster of that name; written at most every five seconds."""
    key, now = (name, os.getpid()), time.monotonic()
    if now - _beaten.get(key, -EVERY) < EVERY:
        return
    _beaten[key] = now
    Heartbeat.objects.update_or_create(name=name, process=process_name(), defaults={"at": timezone.now()})


def forget_old(now: datetime) -> None:
    """Processes that gave no sign for a day are gone."""
    Heartbeat.objects.filter(at__lt=now - KEPT).delete()


def newest(name: str) -> datetime | None:
    """The last sign of life of the cluster of that name, on any machine."""
    return Heartbeat.objects.filter(name=name).order_by("-at").values_list("at", flat=True).first()


def alive(name: str, *, since: datetime) -> list[str]:
    """The processes of that name, on any machine, that gave a sign of life since then."""
    return list(Heartbeat.objects.filter(name=name, at__gte=since).order_by("process").values_list("process", flat=True))


def last_sign(name: str, pids: Iterable[int]) -> datetime | None:
    """The last sign of life of these processes of this machine: a heartbeat in that cluster, or a lease that one of them renewed."""
    host = f"{socket.gethostname()}:"
    ours = tuple(f"{host}{pid}:" for pid in pids)
    beats = Heartbeat.objects.filter(name=name, process__startswith=host).values_list("process", "at")
    held = Lease.objects.filter(holder__startswith=host, expires_at__gt=timezone.now()).values_list("holder", "expires_at")
    signs = [at for process, at in beats if process.startswith(ours)]
    signs += [expires_at - leases.LENGTH for holder, expires_at in held if holder.startswith(ours)]
    return max(signs, default=None)
