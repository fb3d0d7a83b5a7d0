"""Which sets hold purged items still, and when the last of them goes (P9; design section 7)."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q

from audit.moments import in_utc
from backups.models import BackupSet


@dataclass(frozen=True, slots=True)
class Holding:
    """`sets` made before the purge are there; `undated` of them have no date on which they go, the last of the others goes at `last`."""

    sets: int
    undated: int
    last: datetime | None

    def __str__(self) -> str:
        if not self.sets:
            return "No set holds them any more."
        many = "One set holds" if self.sets == 1 else f"{self.sets} sets hold"
        if self.undated or self.last is None:
            return f"{many} them still; when the last one goes is not decided yet."
        return f"{many} them still; the last one goes on {in_utc(self.last)}, unless something else keeps it longer."


def holding(stream: uuid.UUID, purged_at: datetime) -> Holding:
    """The sets of the customer whose snapshot is not younger than that moment."""
    there = BackupSet.objects.filter(stream=stream, state__in=(BackupSet.State.MADE, BackupSet.State.LEAVING))
    before = there.filter(Q(snapshot_at=None) | Q(snapshot_at__lte=purged_at))
    counted = before.aggregate(sets=Count("pk"), undated=Count("pk", filter=Q(goes_at=None)), last=Max("goes_at"))
    return Holding(counted["sets"], counted["undated"], counted["last"])
