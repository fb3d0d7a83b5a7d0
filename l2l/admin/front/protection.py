"""How the customers are protected now, and what goes soon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Count, Q

from backups.admin.sets import GOES_SOON, going_within
from backups.models import BackupSet
from l2l.admin.front.nights import last_night
from subscriptions.models import Customer


@dataclass(frozen=True, slots=True)
class Protection:
    """Customers by their best set since the last night began; one that is damaged beyond mending is none."""

    since: date
    customers: int
    protected: int
    complete: int

    @property
    def without(self) -> int:
        return self.customers - self.protected - self.complete


def protection_now(user: Any) -> Protection:
    customers, since = Customer.objects.visible_to(user), last_night()
    made = BackupSet.objects.filter(night__gte=since, state=BackupSet.State.MADE, damaged_at=None, stream_id__in=customers.values("pk"))
    counted = made.aggregate(
        any=Count("stream_id", distinct=True), protected=Count("stream_id", distinct=True, filter=Q(protected_at__isnull=False))
    )
    return Protection(since, customers.count(), counted["protected"], counted["any"] - counted["protected"])


def going_soon(user: Any) -> int:
    """How many sets age lets go within a week."""
    return going_within(BackupSet.objects.visible_to(user), GOES_SOON).count()
