"""The shipper's life: one leads, others stand by; when nobody leads, the queue takes the same lease for a while (P2; design section 4).

A leader that is killed is followed at once on its own machine, after its lease of some seconds elsewhere. One that was paused past its
lease finds it lost and writes nothing more. A database that went back in time stops everybody until a person decides.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from audit import events
from audit.events import Event
from audit.models import JournalRow
from backups import heartbeats, leases
from backups import vault as vaults
from backups.errors import Busy, LeaseLost
from backups.hot import timelines
from backups.hot.lanes import WentBack
from backups.hot.leading import Leader
from backups.hot.timelines import LEASE, Stopped
from backups.leases import Held, holder_is_gone
from backups.models import HotState, Lease
from backups.vault import Vault

logger = logging.getLogger(__name__)

LENGTH = timedelta(seconds=settings.L2L_HOT_LEASE_SECONDS)
BEAT = "shipper"
TICK = 0.1
STAND_BY = 0.5
# The queue looks once a minute: whoever did not lead for so long does not.
UNLED_AFTER = timedelta(seconds=45)
Say = Callable[[str], None]


def serve(vault: Vault, stopping: Callable[[], bool], say: Say = logger.info) -> None:
    """Leads whenever nobody else does, until `stopping()`. Trouble with the database or a lost lease means standing by again."""
    told = ""
    while not stopping():
        heartbeats.beat(BEAT)
        try:
            told = _lead_if_free(vault, stopping, say, told)
        except (DatabaseError, InterfaceError) as problem:
            say(f"The database cannot be asked ({problem}); it is tried again.")
            _close_connection()
            time.sleep(1.0)


def _lead_if_free(vault: Vault, stopping: Callable[[], bool], say: Say, told: str) -> str:
    why = _why_not()
    if why:
        if why != told:
            say(why)
        time.sleep(STAND_BY)
        return why
    try:
        with leading(vault, say) as leader:
            say(f"Leads, epoch {leader.lease.epoch}")
            _led()
            _tick_until(leader, stopping)
    except (Busy, LeaseLost) as problem:
        say(str(problem))
    except Stopped as problem:
        return str(problem)
    except WentBack as problem:
        say(f"STOPPED: {problem}")
    return ""


def _why_not() -> str:
    """Why this process need not try to lead; a look without any lock, for a standby looks often."""
    lease = Lease.objects.filter(name=LEASE).first()
    if lease is not None and lease.expires_at > vaults.clock() and not holder_is_gone(lease.holder):
        return f"Stands by: {lease.holder} leads."
    stopped = HotState.objects.filter(pk=1).exclude(stopped="").first()
    return f"STOPPED: {stopped.stopped}" if stopped else ""


@contextmanager
def leading(vault: Vault, say: Say = logger.info, *, doing: str = "shipping") -> Iterator[Leader]:
    """The leader, ready to tick, for the length of the block. Raises `Busy`, `LeaseLost`, `Stopped`, and `WentBack` after it was noted."""
    timelines.refuse_stopped()
    lease = leases.take(LEASE, doing=doing, clock=vault.clock, length=LENGTH)
    leader = Leader(vault, lease, say)
    try:
        leader.begin()
        yield leader
    except WentBack as problem:
        timelines.note_stopped(str(problem), lease)
        raise
    finally:
        leader.close()
        _give_back(lease)


def _give_back(lease: Held) -> None:
    """What cannot be given back now runs out by itself."""
    try:
        leases.release(lease)
    except (DatabaseError, InterfaceError) as problem:
        logger.warning("The shipper's lease could not be given back: %s", problem)


def _tick_until(leader: Leader, stopping: Callable[[], bool]) -> None:
    while not stopping():
        began = time.monotonic()
        leader.tick()
        heartbeats.beat(BEAT)
        time.sleep(max(0.0, TICK - (time.monotonic() - began)))


def ship_once(vault: Vault, say: Say = logger.info, *, patience: float = 60.0, doing: str = "shipping once") -> list[str]:
    """Ships what waits and returns, with the names of the locations that are still owed something. Raises as `leading`; what takes longer
    than `patience` seconds is left to the next."""
    deadline = time.monotonic() + patience
    with leading(vault, say, doing=doing) as leader:
        leader.tick()
        while not leader.at_rest and time.monotonic() < deadline:
            if not leader.tick():
                time.sleep(TICK / 4)
        leader.tick()
        return leader.owed()


def standing() -> dict[str, int]:
    """The number of the newest segment, and how many changes wait for a number."""
    last = HotState.objects.filter(pk=1).values_list("last_segment", flat=True).first() or 0
    return {"segment": last, "waiting": JournalRow.objects.filter(number=None).count()}


def ship_if_unled(vault: Vault, now: datetime) -> bool:
    """The queue's part: when nobody led of late, it ships what waits, and raises the alarm once. Returns whether it had to."""
    lease = Lease.objects.filter(name=LEASE).first()
    state, _ = HotState.objects.get_or_create(pk=1)
    if state.stopped or (lease is not None and lease.expires_at > now and not holder_is_gone(lease.holder)):
        return False
    if state.unled_since is None and state.ticked_at is not None and now - state.ticked_at < UNLED_AFTER:
        return False  # one that has just ended is being started again
    if state.unled_since is None:
        _raise_alarm(state, now)
    try:
        ship_once(vault, patience=20.0, doing="shipping for want of a leader")
    except Busy:
        return False
    return True


def _raise_alarm(state: HotState, now: datetime) -> None:
    HotState.objects.filter(pk=1).update(unled_since=state.ticked_at or now)
    seconds = round((now - state.ticked_at).total_seconds()) if state.ticked_at else 0
    events.record(Event.HOT_UNLED, subject="hot:shipper", facts={"seconds": seconds, "segment": state.last_segment})


def _led() -> None:
    """A shipper of its own leads: the queue's alarm is over."""
    HotState.objects.filter(pk=1, unled_since__isnull=False).update(unled_since=None)


def _close_connection() -> None:
    connection.close()
