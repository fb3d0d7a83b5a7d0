"""What locations lack that another one has (P3): owed until it is brought."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, QuerySet, Sum

from backups.models import Blob, Copy, Damage


@dataclass(frozen=True, slots=True)
class Owed:
    """What a location lacks."""

    copies: int = 0
    bytes: int = 0


def owed_copies() -> QuerySet[Copy]:
    """What no location has whole is a finding, not a debt."""
    lost = Damage.objects.open().filter(beyond_at__isnull=False, location=OuterRef("location"), name=OuterRef("blob__name"))
    return Copy.objects.filter(~Exists(lost), state=Copy.State.OWED, blob__state=Blob.State.STORED)


def owed_by_location(stream: uuid.UUID | None = None) -> dict[int, Owed]:
    """What each location lacks and another has, of one stream or of all, in one query."""
    owed = owed_copies().filter(blob__stream=stream) if stream else owed_copies()
    counted = owed.values("location").annotate(copies=Count("pk"), size=Sum("blob__size"))
    return {one["location"]: Owed(one["copies"], one["size"] or 0) for one in counted}
