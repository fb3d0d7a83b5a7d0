"""The days of a control as a strip of colours, with the same in words for whoever does not see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from audit.models import ControlDay
from audit.promises import Standing
from backups.admin.charts import KINDS, WIDTH, Shape

HOURS = 24
# Room between two days, in thousandths of a strip of thirty.
GAP = 5


@dataclass(frozen=True, slots=True)
class Day:
    """`state` is the worst of the controls that were measured on that day; None where none was. `hours` as measured, of the least."""

    day: date
    state: Standing | None = None
    hours: int = 0
    figure: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """`words` is what the strip shows, for who cannot see it."""

    shapes: tuple[Shape, ...]
    words: str


def days_by_control(first: date) -> dict[str, dict[date, ControlDay]]:
    """Since that day; one query."""
    found: dict[str, dict[date, ControlDay]] = {}
    for row in ControlDay.objects.filter(day__gte=first):
        found.setdefault(row.control, {})[row.day] = row
    return found


def together(controls: Sequence[Mapping[date, ControlDay]], first: date, last: date) -> list[Day]:
    """Day by day the worst of these controls, the first named one's figure where they are alike."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return [_worst(day, [rows[day] for rows in controls if day in rows]) for day in days]


def _worst(day: date, rows: list[ControlDay]) -> Day:
    if not rows:
        return Day(day)
    worst = max(rows, key=lambda row: Standing(row.state).rank)
    return Day(day, Standing(worst.state), min(row.kept + row.at_risk + row.broken for row in rows), worst.figure)


def until_now(days: Sequence[Day], now: Iterable[Standing]) -> list[Day]:
    """With how they stand now in the last day, which has readings of full hours alone."""
    last = days[-1]
    worst = max([*now, *([last.state] if last.state else [])], key=lambda state: state.rank, default=None)
    return [*days[:-1], last if worst is last.state else replace(last, state=worst, figure="")]


def strip(days: Sequence[Day], *, figures: bool) -> Strip:
    """One rectangle for each day. `figures`: whether this person may see what was counted."""
    step = WIDTH / len(days)
    gap = min(GAP, step / 4)
    shapes = [
        Shape(round(at * step), max(round(step - gap), 1), kind=KINDS[one.state] if one.state else "none", title=_title(one, figures))
        for at, one in enumerate(days)
    ]
    return Strip(tuple(shapes), words(days))


def words(days: Sequence[Day]) -> str:
    """`The last 30 days: kept on 27, at risk on 1 (3 Nov), broken on none, not measured on 2.`"""
    told = []
    for state in Standing:
        those = [one.day for one in days if one.state is state]
        named = f" ({', '.join(f'{day:%-d %b}' for day in those[-3:])})" if those and state is not Standing.KEPT else ""
        told.append(f"{state.value} on {len(those) or 'none'}{named}")
    blank = sum(one.state is None for one in days)
    return f"The last {len(days)} days: {', '.join(told)}{f', not measured on {blank}' if blank else ''}."


def _title(one: Day, figures: bool) -> str:
    if one.state is None:
        return f"{one.day:%-d %b %Y}: not measured"
    told = f": {one.figure}" if figures and one.figure else ""
    hours = f" ({one.hours} of {HOURS} hours measured)" if one.hours < HOURS else ""
    return f"{one.day:%-d %b %Y}: {one.state.value}{told}{hours}"
