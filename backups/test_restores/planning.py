"""Which test restores are owed, how many a night takes, and what chance decides (pure: no Django, no clock, no settings; P7).

A night takes at least as many cells as will be due before the next one, and so many that the nights up to any later day share what is
due by then evenly. So none is ever late while tests pass, however few customers begin and however many come at once. What chance decides
is a function of the seed and of what exists: the same seed chooses the same again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

DAY = timedelta(days=1)
# The next night may begin later than a day from now: clocks are put back, and the worker may have been away.
LATER = timedelta(hours=3)
# Each quarter has a test of the oldest monthly set, as long as a monthly one is tested this often: the shortest quarter has 90 days.
MONTHLY_WITHIN = 90
MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Cell:
    """One stream's sets of one tier at one location. `since` is when the first of them was there, `tested` the last test that passed,
    `failed` the last test where that failed: then it is due again at once, and each night until it passes."""

    stream: str
    tier: str
    location: str
    since: datetime
    tested: datetime | None = None
    failed: datetime | None = None

    @property
    def name(self) -> str:
        """For seeds: of no two cells alike."""
        return f"{self.stream}/{self.tier}/{self.location}"

    def due(self, test_days: int) -> datetime:
        return self.failed or (self.tested or self.since) + period(self.tier, test_days)


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds that are covered, both ends included; `start` None where nothing says when the first change was."""

    start: datetime | None
    end: datetime


def period(tier: str, test_days: int) -> timedelta:
    """Within which a cell of the tier is tested again."""
    return timedelta(days=min(test_days, MONTHLY_WITHIN) if tier == MONTHLY else test_days)


def needed(due: Iterable[datetime], now: datetime) -> int:
    """How many of the cells due at these moments tonight has to test: for whichever number of nights ahead, an equal share of all that is
    due before they are over, what is late included. `now` is when tonight's tests begin."""
    return _share(_by_night(due, now))


def forecast(due: Iterable[datetime], at_least: int, now: datetime, nights: int, again: int = 0) -> list[tuple[int, int]]:
    """For tonight and the nights after it: how many are due before the next one, and how many it takes when all goes well. What is tested
    meanwhile is not due again within a fortnight or so; `again` of them failed, and pass tonight."""
    left = Counter(_by_night(due, now))
    found = []
    for night in range(nights):
        falls_due, takes = left[1], min(max(_share(left), at_least + (0 if night else again)), left.total())
        found.append((falls_due, takes))
        for nights_left in sorted(left):
            taken = min(left[nights_left], takes)
            left[nights_left] -= taken
            takes -= taken
        left = _next_night(left)
    return found


def _next_night(left: Mapping[int, int]) -> Counter[int]:
    """The same a night later; what is late stays at the first."""
    found = Counter[int]()
    for nights, count in left.items():
        found[max(nights - 1, 1)] += count
    return found


def _by_night(due: Iterable[datetime], now: datetime) -> dict[int, int]:
    """How many have so many nights left, tonight included: 1 where the next night would be too late."""
    found = Counter[int]()
    for moment, count in Counter(due).items():  # many are due at once
        found[max(ceil((moment - LATER - now) / DAY), 1)] += count
    return found


def _share(by_night: Mapping[int, int]) -> int:
    most, total = 0, 0
    for nights, count in sorted(by_night.items()):
        total += count
        most = max(most, ceil(total / nights))
    return most


def tonight(cells: Sequence[Cell], test_days: int, at_least: int, now: datetime, seed: str) -> list[Cell]:
    """The cells to be tested now, the soonest due first; among those due at once the seed decides. `at_least` so many, if there
    are, beside those that failed and are taken again."""
    again = sum(cell.failed is not None for cell in cells)
    count = max(needed((cell.due(test_days) for cell in cells), now), at_least + again)
    return sorted(cells, key=lambda cell: (cell.due(test_days), drawn(seed, cell.name), cell.name))[:count]


def drawn(seed: str, *about: str) -> int:
    """A number below 2^256 that nothing but the seed and what it is about decides."""
    return int.from_bytes(hashlib.sha256("\n".join((seed, *about)).encode()).digest(), "big")


def one_of(seed: str, about: str, idents: Sequence[str]) -> str:
    """The one that the seed draws, in whatever order they are given; `ValueError` without any."""
    if not idents:
        raise ValueError("there is nothing to choose from")
    ordered = sorted(idents)
    return ordered[drawn(seed, about, "set") % len(ordered)]


def second_of(seed: str, about: str, spans: Sequence[Span]) -> datetime | None:
    """A moment that the seed draws from all that are covered: whole seconds before the end of its span; None when none is."""
    lengths = [(span, _seconds(span)) for span in sorted(spans, key=lambda span: (span.end, span.start or span.end))]
    total = sum(length for _, length in lengths)
    if not total:
        return None
    left = drawn(seed, about, "second") % total
    for span, length in lengths:
        if left < length:
            return span.end - timedelta(seconds=length - 1 - left)
        left -= length
    raise AssertionError("the number drawn is below the total")


def _seconds(span: Span) -> int:
    """How many can be drawn, counted back from its end; of one without a beginning, that end alone."""
    return 1 if span.start is None else max(int((span.end - span.start).total_seconds()) + 1, 0)


def quarter(moment: datetime) -> tuple[int, int]:
    """The year and the quarter (1 to 4) of a moment, in its own zone."""
    return moment.year, (moment.month + 2) // 3


def takes_oldest(tier: str, last_oldest: datetime | None, now: datetime) -> bool:
    """Whether a test takes the oldest monthly set of the stream: the first one of each quarter does, wherever it is made."""
    return tier == MONTHLY and (last_oldest is None or quarter(last_oldest.astimezone(now.tzinfo)) != quarter(now))
