"""The ways by which people are told, and how each goes: one process tries at a time, what failed is tried again with growing waits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import F

from audit.models import Telling

MAIL, WEBHOOK, DIGEST, ANCHOR = "mail", "webhook", "digest", "anchor"
# Longer than any try takes. Whoever was killed in the middle of one is followed after it.
CLAIM = timedelta(minutes=5)
WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 15, 30, 60))


def claim(way: str, now: datetime) -> Telling | None:
    """The way, to be tried by the caller alone; None while somebody else tries, or it is too early after a failure."""
    Telling.objects.get_or_create(way=way, defaults={"since": now, "next_at": now})
    taken = Telling.objects.filter(way=way, next_at__lte=now).update(next_at=now + CLAIM)
    return Telling.objects.get(way=way) if taken else None


def worked(way: str, now: datetime) -> None:
    """In the transaction that records what was told."""
    Telling.objects.filter(way=way).update(next_at=now, told_at=now, attempts=0, trouble="")


def free(way: str, now: datetime) -> None:
    """There was nothing to tell."""
    Telling.objects.filter(way=way).update(next_at=now)


def failed(way: str, why: str, now: datetime) -> None:
    """Tried again after a wait that grows with each time."""
    attempts = Telling.objects.filter(way=way).values_list("attempts", flat=True).get()
    wait = WAITS[min(attempts, len(WAITS) - 1)]
    Telling.objects.filter(way=way).update(next_at=now + wait, attempts=F("attempts") + 1, trouble=why[:1000])


def forget(ways: Iterable[str]) -> None:
    """Ways that are set no more: set again, they tell only what is from then on."""
    Telling.objects.filter(way__in=list(ways)).delete()
