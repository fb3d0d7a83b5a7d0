"""How long changes took, counted in buckets: small to store for every hour, and hours can be added up (pure).

A bucket holds what took longer than the bound before its own, and not longer than its own. The bounds are what stored hours were counted
by: another list of bounds would make those unreadable.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, math.inf)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many took how long, one number for each of `BOUNDS`; `longest` in seconds."""

    buckets: tuple[int, ...] = (0,) * len(BOUNDS)
    longest: float = 0.0

    @property
    def changes(self) -> int:
        return sum(self.buckets)

    def percentile(self, percent: float) -> float | None:
        """Seconds in which at least so many percent were done, never too few: the bound of the bucket, or the longest where that is less.
        None when nothing was counted."""
        if not self.changes:
            return None
        rank = max(math.ceil(self.changes * percent / 100), 1)
        at = next(bucket for bucket, until in enumerate(accumulate(self.buckets)) if until >= rank)
        return min(BOUNDS[at], self.longest)


UNCOUNTED = Counted()


def counted(seconds: Iterable[float]) -> Counted:
    """A change that seems to take less than nothing, by the difference of two clocks, took nothing."""
    buckets, longest = [0] * len(BOUNDS), 0.0
    for one in seconds:
        buckets[bisect_left(BOUNDS, one)] += 1
        longest = max(longest, one)
    return Counted(tuple(buckets), longest)


def added(several: Iterable[Counted]) -> Counted:
    """What was counted in several hours, as one."""
    buckets: Sequence[int] = (0,) * len(BOUNDS)
    longest = 0.0
    for one in several:
        buckets = [here + there for here, there in zip(buckets, one.buckets, strict=True)]
        longest = max(longest, one.longest)
    return Counted(tuple(buckets), longest)
