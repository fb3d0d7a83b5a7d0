"""Last night: what became of what was owed (P1). One query over an index, however many customers there are."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Count
from django.urls import reverse

from audit import clock
from backups.admin.charts import WIDTH, Shape
from backups.models import Run
from backups.night_calendar import WORDS
from backups.nights import column_of
from backups.slots import night_of
from subscriptions.admin import of_visible_customers

# Each column of a night's report, the best first: its colour, and the states of the runs behind it.
COLUMNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "filled": ("good", ("done",)),
    "late": ("warn", ("done",)),
    "not_everywhere": ("warn", ("complete",)),
    "running": ("info", ("running",)),
    "waiting": ("info", ("owed",)),
    "excused": ("", ("excused",)),
    "paused": ("", ("paused",)),
    "stopped": ("bad", ("stopped",)),
    "failed": ("bad", ("failed",)),
    "missed": ("bad", ("missed",)),
}
GOOD = ("filled", "late")
# Of the stacked bar, in thousandths of its width: the least that is still seen, and the room between two parts.
THIN, GAP = 10, 4


@dataclass(frozen=True, slots=True)
class Part:
    """One column: how many, its colour, and the list of those."""

    word: str
    count: int
    kind: str
    link: str


@dataclass(frozen=True, slots=True)
class LastNight:
    """`bar` is the stacked bar of the parts, in thousandths of its width."""

    night: date
    parts: tuple[Part, ...]
    bar: tuple[Shape, ...]

    @property
    def owed(self) -> int:
        return sum(part.count for part in self.parts)

    @property
    def filled(self) -> int:
        return sum(part.count for part in self.parts if part.word in GOOD)

    @property
    def words(self) -> str:
        return ", ".join(f"{part.count:,} {part.word}" for part in self.parts)


def last_night() -> date:
    """The newest night that is over or in its morning: the one that began yesterday at noon."""
    return night_of(clock.now() - timedelta(hours=12), ZoneInfo(settings.L2L_ZONE))


def of_last_night(user: Any) -> LastNight | None:
    """Of the customers that the person may see; None when the nights are not theirs to see."""
    if not user.has_perm("l2l_backups.view_run"):
        return None
    night = last_night()
    runs = of_visible_customers(user, Run.objects.filter(kind=Run.Kind.BACKUP, night=night), "stream")
    counts: dict[str, int] = {}
    for state, late, count in runs.order_by().values_list("state", "late").annotate(count=Count("pk")):
        column = column_of(state, late)
        counts[column] = counts.get(column, 0) + count
    parts = tuple(_part(night, column, counts[column]) for column in COLUMNS if counts.get(column))
    return LastNight(night, parts, stacked([(part.count, part.kind, f"{part.count:,} {part.word}", part.link) for part in parts]))


def _part(night: date, column: str, count: int) -> Part:
    kind, (state,) = COLUMNS[column]
    late = f"&late__exact={int(column == 'late')}" if state == Run.State.DONE else ""
    link = f"{reverse('admin:l2l_backups_run_changelist')}?night={night}&state__exact={state}{late}"
    return Part(WORDS.get(column, column), count, kind, link)


def stacked(parts: list[tuple[int, str, str, str]]) -> tuple[Shape, ...]:
    """`(number, colour, title, href)` side by side on one bar; the smallest is still to be seen."""
    whole, x, shapes = sum(number for number, _, _, _ in parts), 0.0, []
    shares = [max(number / whole * WIDTH, THIN) for number, _, _, _ in parts]
    for (_, kind, title, href), share in zip(parts, shares, strict=True):
        wide = share / sum(shares) * WIDTH
        shapes.append(Shape(round(x), max(round(wide) - GAP, 1), kind=kind, title=title, href=href))
        x += wide
    return tuple(shapes)
