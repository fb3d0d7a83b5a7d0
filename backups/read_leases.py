"""Who reads a set holds it: it does not go while a read lease lasts (design section 5).

Taken and looked at under the set's row: either the reader is there first and retention passes the set by, or the set is leaving and the
reader is told so. A lease lasts an hour and is renewed by reading on; one whose process is gone from this machine counts no more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import transaction

from backups.errors import NoSet
from backups.leases import holder_is_gone, process_name
from backups.models import BackupSet, ReadLease
from backups.reading import FoundSet

LENGTH = timedelta(hours=1)
LEAVES = (BackupSet.State.LEAVING, BackupSet.State.REMOVED)


class Reading:
    """A read lease that we hold. Of a set that this database does not know there is none, for nothing here removes it."""

    def __init__(self, ident: str, why: str, clock: Callable[[], datetime]) -> None:
        """Raises `NoSet` when retention is letting the set go."""
        self.clock, self._row, self._renew_at = clock, None, clock() + LENGTH / 3
        with transaction.atomic():
            known = BackupSet.objects.select_for_update().filter(pk=ident).values_list("stream", "state", "night").first()
            if known is None:
                return
            stream, state, night = known
            if state in LEAVES:
                raise NoSet(f"The set {ident[:8]} for the night of {night} is being removed, for its time is over. Choose another one.")
            now = clock()
            lease = ReadLease(stream_id=stream, backup_set_id=uuid.UUID(ident), holder=process_name(), why=why[:100])
            lease.taken_at, lease.expires_at = now, now + LENGTH
            lease.save()
            self._row = lease.pk

    def keep(self) -> None:
        """Renews it when a third of its time has passed. Called with every object that is read."""
        now = self.clock()
        if self._row is not None and now >= self._renew_at:
            ReadLease.objects.filter(pk=self._row).update(expires_at=now + LENGTH)
            self._renew_at = now + LENGTH / 3

    def release(self) -> None:
        if self._row is not None:
            ReadLease.objects.filter(pk=self._row).delete()
            self._row = None


@contextmanager
def reading(ident: str, why: str, clock: Callable[[], datetime]) -> Iterator[Reading]:
    """The lease for the length of a block. Raises `NoSet`."""
    held = Reading(ident, why, clock)
    try:
        yield held
    finally:
        held.release()


def staying(sets: Sequence[FoundSet]) -> list[FoundSet]:
    """Those that retention is not letting go: what still lies at a location of the others must not be begun to be read."""
    leaving = {str(pk) for pk in BackupSet.objects.filter(pk__in=[one.id for one in sets], state__in=LEAVES).values_list("pk", flat=True)}
    return [one for one in sets if one.id not in leaving]


def being_read(sets: Collection[uuid.UUID], now: datetime) -> set[uuid.UUID]:
    """Those of the sets that somebody reads now. What decides a removal asks this under their rows."""
    leases = ReadLease.objects.filter(backup_set__in=sets, expires_at__gt=now).values_list("backup_set", "holder")
    return {pk for pk, holder in leases if not holder_is_gone(holder)}


def forget_old(now: datetime) -> None:
    """Leases that are over, or whose process is."""
    over = [
        pk for pk, holder, until in ReadLease.objects.values_list("pk", "holder", "expires_at") if until <= now or holder_is_gone(holder)
    ]
    ReadLease.objects.filter(pk__in=over).delete()
