"""The streams at which there is anything to be done: a set whose date came, a period that closes, another policy or term, a removal that
was cut short. Nobody else is looked at."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from audit.models import Stream
from backups.models import BackupSet, Blob, RetentionLook
from backups.policy import Policy
from subscriptions.ending import standing
from subscriptions.models import Subscription


@dataclass(frozen=True, slots=True)
class Due:
    """The streams, in a fixed order; of those in `anew` every set is to be decided, of the others what is due."""

    streams: list[uuid.UUID]
    anew: set[uuid.UUID]


def due(policy: Policy, now: datetime) -> Due:
    """All of them."""
    made = BackupSet.objects.filter(state=BackupSet.State.MADE)
    found = set(made.filter(Q(goes_at__lt=now) | Q(goes_at=None)).order_by().values_list("stream", flat=True).distinct())
    found |= set(RetentionLook.objects.filter(look_at__lte=now).values_list("stream", flat=True)) | cut_short()
    anew = set(RetentionLook.objects.exclude(policy=policy.number).values_list("stream", flat=True)) | _of_another_term(policy)
    unknown = Stream.objects.filter(
        ~Exists(RetentionLook.objects.filter(stream=OuterRef("pk"))), Exists(made.filter(stream=OuterRef("pk")))
    )
    anew |= set(unknown.values_list("pk", flat=True))
    alone = standing.left_alone()  # what was returned is what is destroyed
    return Due(sorted((found | anew) - alone), anew - alone)


def cut_short() -> set[uuid.UUID]:
    """Where a removal that was decided is not done yet."""
    leaving = BackupSet.objects.filter(state=BackupSet.State.LEAVING).order_by().values_list("stream", flat=True).distinct()
    condemned = Blob.objects.filter(state=Blob.State.CONDEMNED).exclude(kind=Blob.Kind.KEY)  # those go by themselves
    return set(leaving) | set(condemned.order_by().values_list("stream", flat=True).distinct())


def _of_another_term(policy: Policy) -> set[uuid.UUID]:
    """Customers whose agreement lets things be kept for another time than when they were last looked at."""
    years: dict[uuid.UUID, int] = {}
    for customer, agreed in Subscription.objects.order_by().values_list("customer", "agreed_retention_years"):
        years[customer] = max(years.get(customer, 0), policy.longest_years if agreed is None else agreed)
    known = RetentionLook.objects.values_list("stream", "years")
    return {stream for stream, then in known if years.get(stream, policy.longest_years) != then}
