"""What each night, week and month says in the picture of what is kept (pure: no Django, no clock, no settings; P6).

Every cell says one thing, and every cell that says something counts once: owed = filled + late + stood in for + missed + excused. What is
not over yet is *owed still* and counts beside that. A set that was removed once its time was over leaves its cell as it was, marked.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from audit.moments import in_utc
from backups.slots import DAY, Period, Tier, month_of, night_called, period_called, periods, week_of


class Says(StrEnum):
    """What a cell says, in a word. `ASKED`: nothing was owed, and a set was made because somebody asked."""

    FILLED = "filled"
    LATE = "late"
    STOOD_IN = "stood in for"
    MISSED = "missed"
    EXCUSED = "excused"
    OWED = "owed"
    ASKED = "asked for"
    NOTHING = ""


# Each looks different without its colour too: badge's colour, mark.
LOOKS = {
    Says.FILLED: ("good", "✓"),
    Says.LATE: ("warn", "L"),
    Says.STOOD_IN: ("warn", "S"),
    Says.MISSED: ("bad", "✕"),
    Says.EXCUSED: ("excused", "E"),
    Says.OWED: ("info", "○"),
    Says.ASKED: ("asked", "+"),
    Says.NOTHING: ("", ""),
}
REMOVED_MARK = "–"
HELD = (Says.FILLED, Says.LATE, Says.STOOD_IN, Says.ASKED)
GONE = ("leaving", "removed")
_KEY = re.compile(r"\b(?:week:\d{4}-W\d\d|month:\d{4}-\d\d|night:\d{4}-\d\d-\d\d)")


@dataclass(frozen=True, slots=True)
class Night:
    """A night's run: `state` and `late` are the run's, `over` once its night has ended. `set_state` is empty without a set."""

    night: date
    run: int
    state: str
    late: bool = False
    over: bool = True
    set_id: str = ""
    set_state: str = ""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A week or month that was decided: its slot, and the night and state of the set."""

    key: str
    state: str
    set_id: str = ""
    set_night: date | None = None
    set_state: str = ""
    nights_off: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A set of a night to which no run belongs."""

    night: date
    set_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Facts:
    """One stream. Weeks and months are owed from `first` on, nights from `nights_first`, both up to `last` or, when it is None, `newest`,
    the night of now; `best` names the best set yet of a period that is open, by its key."""

    newest: date
    now: datetime
    zone: ZoneInfo
    first: date | None = None
    nights_first: date | None = None
    last: date | None = None
    chosen: Iterable[Chosen] = ()
    nights: Iterable[Night] = ()
    made: Iterable[Made] = ()
    best: Mapping[str, str] = field(default_factory=dict)

    @property
    def owed_to(self) -> date:
        return min(self.last or self.newest, self.newest)


@dataclass(frozen=True, slots=True)
class Cell:
    """`label` names it in its row; `title` says all in a sentence. It opens its set, else its run, else (`year`) the nights of its year."""

    label: str
    says: Says = Says.NOTHING
    title: str = ""
    set_id: str = ""
    run: int | None = None
    year: int = 0
    removed: bool = False

    @property
    def word(self) -> str:
        return "removed as promised" if self.removed else self.says.value

    @property
    def kind(self) -> str:
        return f"{LOOKS[self.says][0]} bo-gone" if self.removed else LOOKS[self.says][0]

    @property
    def mark(self) -> str:
        return REMOVED_MARK if self.removed and self.says in (Says.FILLED, Says.ASKED) else LOOKS[self.says][1]


@dataclass(frozen=True, slots=True)
class Counts:
    """`owed` is what is over: owed = filled + late + stood_in + missed + excused. `still` is owed and not over; `removed` of those with a
    set have it no more."""

    filled: int = 0
    late: int = 0
    stood_in: int = 0
    missed: int = 0
    excused: int = 0
    still: int = 0
    asked: int = 0
    removed: int = 0

    @property
    def owed(self) -> int:
        return self.filled + self.late + self.stood_in + self.missed + self.excused


@dataclass(frozen=True, slots=True)
class Year:
    """A calendar year's months, and the weeks of the ISO year of that number."""

    number: int
    months: tuple[Cell, ...]
    weeks: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """The nights of one month as weeks from Monday to Sunday; a cell without a label is no night of it."""

    name: str
    weeks: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Years and months with the newest first. `nights_from` and `nights_to` are the nights that it shows."""

    years: tuple[Year, ...]
    months: tuple[Month, ...]
    nights_from: date
    nights_to: date
    counts: dict[Tier, Counts]


def draw(facts: Facts, nights_from: date, nights_to: date) -> Picture:
    """All years since sets are owed, and the nights of a stretch."""
    years, months = tuple(_years(facts)), tuple(_months(facts, nights_from, nights_to))
    counts = {
        Tier.MONTH: count(cell for year in years for cell in year.months),
        Tier.WEEK: count(cell for year in years for cell in year.weeks),
        Tier.NIGHT: count(cell for month in months for week in month.weeks for cell in week),
    }
    return Picture(years, months, nights_from, nights_to, counts)


def count(cells: Iterable[Cell]) -> Counts:
    found, removed = dict.fromkeys(Says, 0), 0
    for cell in cells:
        found[cell.says] += 1
        removed += cell.removed
    return Counts(
        filled=found[Says.FILLED],
        late=found[Says.LATE],
        stood_in=found[Says.STOOD_IN],
        missed=found[Says.MISSED],
        excused=found[Says.EXCUSED],
        still=found[Says.OWED],
        asked=found[Says.ASKED],
        removed=removed,
    )


# Weeks and months


def _years(facts: Facts) -> Iterator[Year]:
    if facts.first is None:
        return
    chosen = {one.key: one for one in facts.chosen}
    owed = {period.key for tier in (Tier.WEEK, Tier.MONTH) for period in periods(tier, facts.first, facts.owed_to)}
    oldest = min(facts.first.year, facts.first.isocalendar().year)
    for number in range(max(facts.owed_to.year, facts.owed_to.isocalendar().year), oldest - 1, -1):
        months = [month_of(date(number, month, 1)) for month in range(1, 13)]
        yield Year(
            number,
            tuple(_of_period(one, f"{one.first:%b}", chosen, owed, facts, number) for one in months),
            tuple(_of_period(one, str(at), chosen, owed, facts, number) for at, one in enumerate(weeks_of(number), 1)),
        )


def weeks_of(year: int) -> list[Period]:
    """The 52 or 53 weeks of an ISO year."""
    last = date(year, 12, 28).isocalendar().week
    return [week_of(date.fromisocalendar(year, week, 1)) for week in range(1, last + 1)]


def _of_period(period: Period, label: str, chosen: Mapping[str, Chosen], owed: Collection[str], facts: Facts, year: int) -> Cell:
    name = _capital(name_of(period))
    slot = chosen.get(period.key)
    if slot is not None:
        return _decided(slot, label, name, year)
    if period.key in owed:
        return _open(period, label, name, facts, year)
    return Cell(label, title=f"{name}: nothing is owed")


def _decided(slot: Chosen, label: str, name: str, year: int) -> Cell:
    says, removed = Says(_SLOT_SAYS[slot.state]), slot.set_state in GONE
    by = ""
    if slot.set_night is not None:
        by = f" by the set of the night of {slot.set_night:%-d %B %Y}"
    if says is Says.STOOD_IN:
        by += f", {_nights(slot.nights_off)} off"
    return Cell(label, says, _sentence(name, f"{says.value}{by}", slot.set_state, slot.note), slot.set_id, None, year, removed)


_SLOT_SAYS = {"filled": Says.FILLED, "stood in": Says.STOOD_IN, "missed": Says.MISSED, "excused": Says.EXCUSED}


def _open(period: Period, label: str, name: str, facts: Facts, year: int) -> Cell:
    closes_at, best = period.closes_at(facts.zone), facts.best.get(period.key, "")
    when = f"its set is chosen on {in_utc(closes_at)}" if closes_at > facts.now else "it is over, and the next pass chooses its set"
    return Cell(label, Says.OWED, f"{name}: owed; {when}{'; this is the best one yet' if best else ''}", best, None, year)


def name_of(period: Period) -> str:
    """`March 2026`, `week 3 of 2026 (12 to 18 Jan)`, `night of 4 March 2026`."""
    if period.tier is Tier.MONTH:
        return f"{period.first:%B %Y}"
    if period.tier is Tier.NIGHT:
        return f"night of {period.first:%-d %B %Y}"
    iso = period.first.isocalendar()
    from_day = f"{period.first:%-d}" if period.first.month == period.last.month else f"{period.first:%-d %b}"
    return f"week {iso.week} of {iso.year} ({from_day} to {period.last:%-d %b})"


def plain(words: str) -> str:
    """A reason as people read it: `chosen for week:2026-W03` names the week by its days."""
    return _KEY.sub(lambda key: name_of(period_called(key[0])), words)


# Nights


def _months(facts: Facts, nights_from: date, nights_to: date) -> Iterator[Month]:
    runs = {one.night: one for one in facts.nights}
    made = {one.night: one for one in facts.made}
    first = nights_to.replace(day=1)
    while first >= nights_from.replace(day=1):
        days = [first + number * DAY for number in range(monthrange(first.year, first.month)[1])]
        cells = [Cell("") for _ in range(first.weekday())]
        cells += [_of_night(day, runs, made, facts) if nights_from <= day <= nights_to else Cell(str(day.day)) for day in days]
        cells += [Cell("") for _ in range(-len(cells) % 7)]
        yield Month(f"{first:%B %Y}", tuple(tuple(cells[at : at + 7]) for at in range(0, len(cells), 7)))
        first = (first - DAY).replace(day=1)


def _of_night(day: date, runs: Mapping[date, Night], made: Mapping[date, Made], facts: Facts) -> Cell:
    name, label = _capital(name_of(night_called(day))), str(day.day)
    if day in runs:
        return _of_run(runs[day], name, label)
    if facts.nights_first is not None and facts.nights_first <= day <= facts.owed_to:
        return _unaccounted(day, name, label, facts)
    if day in made:
        one = made[day]
        title = _sentence(name, "no set was owed; this one was asked for", one.state)
        return Cell(label, Says.ASKED, title, one.set_id, removed=one.state in GONE)
    return Cell(label, title=f"{name}: nothing is owed")


def _of_run(run: Night, name: str, label: str) -> Cell:
    says = says_of_run(run.state, run.late, run.over)
    words = says.value if run.state in ("done", says.value) else f"{says.value}: {_RUN_WORDS.get(run.state, run.state)}"
    removed = says in HELD and run.set_state in GONE
    return Cell(label, says, _sentence(name, words, run.set_state), run.set_id, run.run, run.night.year, removed)


_RUN_WORDS = {
    "complete": "its set is whole at one location and not yet at every required one",
    "running": "being backed up",
    "failed": "the backup failed",
    "stopped": "somebody stopped the backup",
    "paused": "backups were paused",
}


def says_of_run(state: str, late: bool, over: bool) -> Says:
    """What a night says by its run. Without a set once it is over it is missed, whatever stood in the way; a late set may still fill it."""
    if state == "done":
        return Says.LATE if late else Says.FILLED
    if state == "excused":
        return Says.EXCUSED
    if state == "missed" or (over and state in ("failed", "stopped", "paused")):
        return Says.MISSED
    return Says.OWED


def _unaccounted(day: date, name: str, label: str, facts: Facts) -> Cell:
    """No run stands for a night that is owed: it has just begun, or nobody wrote it down."""
    if day >= facts.newest:
        return Cell(label, Says.OWED, f"{name}: owed; it has just begun")
    return Cell(label, Says.MISSED, f"{name}: missed; nobody wrote down that a set was owed: does the worker run?")


def _sentence(name: str, words: str, set_state: str, note: str = "") -> str:
    gone = {"leaving": "; its time is over and it is being removed", "removed": "; removed as promised, for its time was over"}
    return f"{name}: {words}{gone.get(set_state, '')}" + "".join(f"; {line}" for line in note.splitlines())


def _capital(name: str) -> str:
    return name[0].upper() + name[1:]


def _nights(number: int) -> str:
    return "1 night" if number == 1 else f"{number} nights"
