"""What the reading costs in a month of 30 days (pure): shown beside the period, so that nobody chooses one blindly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

DAYS = 30
GIB = 1024**3
# A listing gives so many names a request (S3), and each location is listed every night.
NAMES = 1000
# Until a pass has told how fast the location is read.
ASSUMED_SPEED = 20 * 1024**2


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes and requests a month, the time that it takes, and what it costs where a price of a GiB is known."""

    bytes: int
    requests: int
    time: timedelta
    money: Decimal | None


def monthly(objects: int, size: int, *, days: int, speed: float | None, price: Decimal | None) -> Cost:
    """Of `objects` with `size` bytes in all, read once in `days`; `speed` in bytes a second as measured, None before."""
    read, rounds = size * DAYS // days, DAYS / days
    requests = round(objects * rounds) + DAYS * (objects // NAMES + 1)
    money = None if price is None else (price * read / GIB).quantize(Decimal("0.01"))
    return Cost(read, requests, timedelta(seconds=read / (speed or ASSUMED_SPEED)), money)
