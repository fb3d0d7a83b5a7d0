"""A set that is damaged beyond mending: it is never chosen again, and whatever it was chosen for gets the next best (P4, P6)."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from audit.events import Event, record
from audit.registry import SYSTEM_STREAM
from backups.models import BackupSet, RetentionLook

# No version of the policy: everything is decided anew.
NONE = 0


def note(backup_set: BackupSet, why: str, now: datetime) -> None:
    """Records it, once; stands inside `audit.acting(...)`. The next pass of retention replaces it in its slots."""
    with transaction.atomic():
        found = BackupSet.objects.filter(pk=backup_set.pk, damaged_at=None).update(damaged_at=now, trouble=why[:500])
        if found:
            customer = backup_set.stream_id if backup_set.stream_id != SYSTEM_STREAM else None
            RetentionLook.objects.filter(stream=backup_set.stream_id).update(policy=NONE)
            record(Event.SET_DAMAGED, subject=backup_set, customer=customer, facts={"set": str(backup_set.pk)})


def undo(backup_set: BackupSet, now: datetime) -> None:
    """Everything that it needs is whole again at some location, for a lost one came back; stands inside `audit.acting(...)`."""
    with transaction.atomic():
        if BackupSet.objects.filter(pk=backup_set.pk, damaged_at__isnull=False).update(damaged_at=None, trouble=""):
            customer = backup_set.stream_id if backup_set.stream_id != SYSTEM_STREAM else None
            RetentionLook.objects.filter(stream=backup_set.stream_id).update(policy=NONE)
            record(Event.SET_MENDED, subject=backup_set, customer=customer, facts={"set": str(backup_set.pk)})
