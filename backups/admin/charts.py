"""The shapes of the charts, in thousandths of the width and of the height (pure). Templates draw them; the colours are the badges'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backups.hot.durations import Counted
from backups.hot.standing import BROKEN, P99, WARNING, State, state_of_age

WIDTH = HEIGHT = 1000
# Seconds at the foot and at the top of a chart of durations, which grows tenfold with each step.
SHORTEST, LONGEST = 0.02, 7200.0
# Room between two bars, as a share of one's width.
GAP = 0.18
KINDS = {State.KEPT: "good", State.AT_RISK: "warn", State.BROKEN: "bad"}


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle; `y` is its upper edge. `title` is said on hover, `href` where it leads."""

    x: int
    width: int
    y: int = 0
    height: int = HEIGHT
    kind: str = ""
    title: str = ""
    href: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """A line across the chart, `above` so many hundredths of the height."""

    y: int
    above: int
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Durations:
    """A chart of how long changes took: for each stretch of time the longest, and before it the 99th of a hundred."""

    longest: tuple[Shape, ...]
    p99: tuple[Shape, ...]


def durations(stretches: Sequence[tuple[str, Counted]]) -> Durations:
    """One bar for each stretch of time, named for who hovers over it; none where nothing was counted."""
    longest, p99 = [], []
    for at, (name, one) in enumerate(stretches):
        slow = one.percentile(99)
        if slow is None:
            continue
        changes = "1 change" if one.changes == 1 else f"{one.changes:,} changes"
        title = f"{name}: {changes}, p50 {seconds(one.percentile(50))}, p99 {seconds(slow)}, longest {seconds(one.longest)}"
        longest.append(_bar(at, len(stretches), level(one.longest), KINDS[state_of_age(timedelta(seconds=one.longest))], title))
        p99.append(_bar(at, len(stretches), level(slow), kind_of_p99(slow), title))
    return Durations(tuple(longest), tuple(p99))


def kind_of_p99(slow: float) -> str:
    return "good" if slow <= P99 else KINDS[max(state_of_age(timedelta(seconds=slow)), State.AT_RISK, key=lambda state: state.rank)]


def limits() -> tuple[Limit, ...]:
    """What is promised, warned of and broken."""
    marks = ((P99, "good"), (WARNING.total_seconds(), "warn"), (BROKEN.total_seconds(), "bad"))
    return tuple(Limit(HEIGHT - level(mark), level(mark) * 100 // HEIGHT, kind, seconds(mark)) for mark, kind in marks)


def level(duration: float) -> int:
    """How high a duration stands; the shortest is still to be seen."""
    share = math.log(min(max(duration, SHORTEST), LONGEST) / SHORTEST) / math.log(LONGEST / SHORTEST)
    return max(round(share * HEIGHT), HEIGHT // 50)


def counts(numbers: Sequence[tuple[int, str, str]]) -> tuple[Shape, ...]:
    """One bar for each of `(number, title, href)`; the square root lets few be seen beside many."""
    most = max([1, *(number for number, _, _ in numbers)])
    shapes = []
    for at, (number, title, href) in enumerate(numbers):
        high = max(round(math.sqrt(number / most) * HEIGHT), HEIGHT // 25) if number else 0
        shapes.append(_bar(at, len(numbers), high, "info", title, href))
    return tuple(shapes)


def _bar(at: int, of: int, high: int, kind: str, title: str, href: str = "") -> Shape:
    step = WIDTH / of
    return Shape(round(at * step + step * GAP / 2), max(round(step * (1 - GAP)), 1), HEIGHT - high, high, kind, title, href)


@dataclass(frozen=True, slots=True)
class Axis:
    """The time from `start` to `end` from left to right."""

    start: datetime
    end: datetime

    def x(self, at: datetime) -> int:
        return round((min(max(at, self.start), self.end) - self.start) / (self.end - self.start) * WIDTH)

    def holds(self, at: datetime) -> bool:
        return self.start <= at < self.end

    def stretch(self, start: datetime, end: datetime, kind: str, title: str = "") -> Shape | None:
        """A stretch of time as far as it lies on the axis; None when it does not."""
        if end <= self.start or start >= self.end:
            return None
        x = self.x(start)
        return Shape(x, max(self.x(end) - x, 1), kind=kind, title=title)


def seconds(value: float | None) -> str:
    """`80 ms`, `0.3 s`, `5 s`, `1 min`."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 10:
        return f"{value:.1f}".removesuffix(".0") + " s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
