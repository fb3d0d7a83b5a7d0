"""Whether the clock can be trusted to say how old a set is (design section 7). In doubt nothing is removed, until the clock is right
again or a person vouches for it, with a reason, for a day."""

from __future__ import annotations

import socket
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import transaction

import audit
from audit import actors, clock
from audit.events import Event, record
from audit.models import Event as Recorded
from audit.moments import in_utc
from audit.registry import SYSTEM_STREAM
from backups.errors import BackupError
from backups.models import BackupSet, ClockMark
from backups.retention import Mark, doubts
from backups.stores.contract import StoreError
from backups.vault import Vault

CLEARS = "l2l_backups.clear_clock"
CLEARED_FOR = timedelta(hours=24)
BOOT = Path("/proc/sys/kernel/random/boot_id")


class ClockInDoubt(BackupError):
    """Nothing is removed while the clock is in doubt; the message says why, and what to do."""

    def __init__(self, found: list[str]) -> None:
        self.doubts = found
        super().__init__(
            f"The clock is in doubt, so nothing is removed: {'; '.join(found)}. Set this machine's clock right (NTP). When it is right and "
            "the doubt stays, vouch for it: 'manage.py prune --clear-clock WHY --as USER --password-file FILE'."
        )


class NothingToClear(BackupError):
    """There is no doubt that a person could clear."""


def refuse_doubtful(vault: Vault, now: datetime) -> bool:
    """Returns whether a person vouches for the clock now. Raises `ClockInDoubt`, and keeps what was doubted for whoever looks."""
    mark, found = _mark(now), doubts_of(vault, now)
    row = ClockMark.objects.filter(pk=socket.gethostname()).first() or ClockMark(pk=socket.gethostname())
    cleared = row.cleared_until is not None and row.cleared_until > now
    row.doubts = "\n".join(found)
    if not found or cleared:
        row.boot, row.seconds, row.at = mark.boot, mark.seconds, mark.at
    elif row.at is None:
        row.boot, row.seconds, row.at = "", 0.0, now
    row.save()
    if found and not cleared:
        raise ClockInDoubt(found)
    return cleared


def doubts_of(vault: Vault, now: datetime) -> list[str]:
    """Why the clock is in doubt; empty when it is not. A clock that a sample home or a simulation sets is held against what was recorded,
    not against other clocks."""
    ours = vault.clock is clock.now  # a simulation's own clock tells nothing about events
    newest_event = Recorded.objects.order_by("-number").values_list("at", flat=True).first() if ours else None
    newest_set = BackupSet.objects.filter(stream=SYSTEM_STREAM, state=BackupSet.State.MADE).order_by("-started_at").first()
    real = ours and clock.set_to() is None
    row = ClockMark.objects.filter(pk=socket.gethostname()).exclude(boot="").first() if real else None
    before = Mark(row.boot, row.seconds, row.at) if row else None
    set_at = (newest_set.snapshot_at or newest_set.started_at) if newest_set else None
    return doubts(_mark(now), before, newest_event, set_at, _elsewhere(vault) if real else {})


def _mark(now: datetime) -> Mark:
    boot = BOOT.read_text().strip() if BOOT.exists() else ""
    return Mark(boot or "unknown", time.clock_gettime(time.CLOCK_BOOTTIME), now)


def _elsewhere(vault: Vault) -> dict[str, datetime]:
    """What the locations' clocks say; one that does not answer says nothing."""
    found = {}
    for place in vault.places:
        try:
            found[place.name] = place.store.now()
        except StoreError:
            continue  # it is in trouble, which is told where locations are shown
    return found


def clear(*, by: Any, why: str, now: datetime) -> datetime:
    """This person vouches for the clock until the returned moment. Raises `NothingToClear`, and `BackupError` without the right or a
    reason."""
    if not by.has_perm(CLEARS):
        raise BackupError(f"{by} may not vouch for the clock: it needs the right {CLEARS}.")
    if not why.strip():
        raise BackupError("Say why the clock can be trusted.")
    doubtful = ClockMark.objects.exclude(doubts="")
    until = now + CLEARED_FOR
    with transaction.atomic(), audit.acting(actors.of_user(by, reason=why, source="prune")):
        count = doubtful.update(cleared_until=until, cleared_by=by.get_username()[:150], cleared_reason=why[:500])
        if not count:
            raise NothingToClear("No doubt about the clock stands. The next 'manage.py prune' looks at it anew.")
        record(Event.CLOCK_CLEARED, facts={"until": until.isoformat(), "doubts": count})
    return until


def standing(now: datetime) -> list[tuple[str, bool]]:
    """What is doubted of each machine's clock, in words, and whether a person vouches for it now."""
    rows = ClockMark.objects.exclude(doubts="").order_by("host")
    return [(in_words(row, now), row.cleared_until is not None and row.cleared_until > now) for row in rows]


def in_words(row: ClockMark, now: datetime) -> str:
    """What a page says of one machine's clock; empty when nothing is doubted."""
    if not row.doubts:
        return ""
    said = f"{row.host}: {'; '.join(row.doubts.splitlines())}"
    if row.cleared_until is not None and row.cleared_until > now:
        said += f" ({row.cleared_by} vouches for it until {in_utc(row.cleared_until)}: {row.cleared_reason})"
    return said
