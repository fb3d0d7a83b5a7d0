"""No new set is owed of a customer whose data is frozen for its return: its nights stay in the list, excused (P1; design section 9)."""

from __future__ import annotations

from datetime import datetime

from backups import run_acts
from backups.models import Run
from subscriptions.ending import standing

WHY = "its data was frozen to be returned"


def excuse_nights(now: datetime) -> int:
    """Excuses each of their nights that is owed and not being worked on; returns how many. After the nights were written down, before they
    are begun. Stands inside `audit.acting(...)`."""
    frozen = standing.frozen_for_return()
    if not frozen:
        return 0
    waiting = Run.objects.filter(kind=Run.Kind.BACKUP, state=Run.State.OWED, stream__in=frozen).order_by("pk")
    for run in waiting:
        run_acts.excuse(run.pk, now, reason=WHY)
    return len(waiting)
