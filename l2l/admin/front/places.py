"""What each location holds, lacks, and was found to hold when it was read again; and what would be lost now (P2, P3, P4)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import Count, Q

from audit import clock
from audit.moments import length
from backups.admin.charts import KINDS, kind_of_p99, seconds
from backups.admin.hot import figures_for
from backups.hot.standing import Figures, Standing, judged, state_of_age
from backups.hot.standing import Place as Window
from backups.models import Damage, Location, UnknownObject, VerificationPass
from backups.owed import Owed, owed_by_location

# Older than that a pass says nothing of now; each location has one a night.
NIGHTS_LOOKED_AT = 40


@dataclass(frozen=True, slots=True)
class Place:
    """One location. `newest` is its newest reading, None before the first; `checked` so many hundredths of its objects in time."""

    location: Location
    owed: Owed
    newest: VerificationPass | None
    damaged: int
    nowhere: int
    unknown: int

    @property
    def checked(self) -> int:
        """Never a hundred while one object is behind."""
        if self.newest is None or not self.newest.stored_objects:
            return 0
        return self.newest.in_time * 100 // self.newest.stored_objects

    @property
    def behind(self) -> int:
        return self.newest.stored_objects - self.newest.in_time if self.newest else 0


@dataclass(frozen=True, slots=True)
class Lost:
    """What one location lacks now, and how long changes took to be durable there in the last hour and today."""

    name: str
    offsite: bool
    trouble: bool
    lacks: str
    kind: str
    p99: str
    p99_kind: str
    longest: str


def places_now(user: Any) -> list[Place]:
    """Empty for who may not see the locations; what verification found is for who may see that."""
    if not user.has_perm("l2l_backups.view_location"):
        return []
    owed, may_see = owed_by_location(), user.has_perm("l2l_backups.view_verificationpass")
    newest, damaged, unknown = (_newest_passes(), _damaged(), _unknown()) if may_see else ({}, {}, {})
    return [
        Place(one, owed.get(one.pk, Owed()), newest.get(one.pk), *damaged.get(one.pk, (0, 0)), unknown.get(one.pk, 0))
        for one in Location.objects.filter(in_force=True)
    ]


def _damaged() -> dict[int, tuple[int, int]]:
    """How many objects are not as they should be, and how many of them are whole nowhere."""
    nowhere = Count("pk", filter=Q(beyond_at__isnull=False))
    found = Damage.objects.open().order_by().values_list("location").annotate(all=Count("pk"), nowhere=nowhere)
    return {pk: (count, lost) for pk, count, lost in found}


def _unknown() -> dict[int, int]:
    return dict(UnknownObject.objects.order_by().values_list("location").annotate(Count("pk")))


def _newest_passes() -> dict[int, VerificationPass]:
    """Of each location; a night after the other, so that the newest stays."""
    since: date = clock.now().date() - timedelta(days=NIGHTS_LOOKED_AT)
    return {one.location_id: one for one in VerificationPass.objects.filter(night__gte=since).order_by("night")}


def hot_now(user: Any, now: datetime) -> tuple[Standing, list[Lost]] | None:
    """How P2 stands, and each location's window; None for who may not see it."""
    if not user.has_perm("l2l_backups.view_hotstate"):
        return None
    figures: Figures = figures_for(user, now)
    return judged(figures), [_lost(place, now) for place in figures.places]


def _lost(place: Window, now: datetime) -> Lost:
    age, slow, today = place.lag.age(now), place.last_hour.percentile(99), place.longest_today(now)
    counted = place.today.changes > 0 or today > timedelta()
    return Lost(
        name=place.name,
        offsite=place.offsite,
        trouble=bool(place.trouble),
        lacks=length(age) if place.lag.since else "nothing",
        kind=KINDS[state_of_age(age)],
        p99=seconds(slow),
        p99_kind=kind_of_p99(slow) if slow is not None else "",
        longest=seconds(today.total_seconds()) if counted else "–",
    )
