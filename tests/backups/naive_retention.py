"""The rules of retention once more, as plainly as they can be said: the tests' oracle (P6; design section 7).

It is slow and looks at calendars alone. It takes nothing from `backups.retention` and `backups.slots`: it has its own noon, its own weeks,
its own leap days. A `Story` is all that happens to one customer's sets; `tell` says what each pass over them decides and removes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from backups.policy import Policy

DAY = timedelta(days=1)
WEEK = timedelta(days=7)

# What happens


@dataclass(frozen=True)
class Made:
    """A set. `at` is what the machine's clock said, `made` what the time was; the rest are true times too, None for never."""

    id: str
    at: datetime
    made: datetime
    nights_late: int = 0
    protected: datetime | None = None
    proved: datetime | None = None
    damaged: datetime | None = None


@dataclass(frozen=True)
class Pass:
    """A look at all sets. `true` is the time, `now` what the machine's clock says; `boot` changes when the machine is started anew."""

    true: datetime
    now: datetime
    boot: str = "first"
    held: bool = False
    read: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Story:
    """One customer. `agreed` are the years of its agreement from a moment on, None for none. `first` and `last` are the nights owed.

    `locations_tell`: the locations have clocks of their own, which are right. `cleared`: a person overrules every doubt about the clock.
    """

    first: date
    last: date | None
    policies: tuple[Policy, ...]
    agreed: tuple[tuple[datetime, int | None], ...]
    sets: tuple[Made, ...]
    passes: tuple[Pass, ...]
    locations_tell: bool = False
    cleared: bool = False


@dataclass(frozen=True)
class Told:
    """What a pass came to. `reasons`: for each set there was, the rules that keep it, with an end for those of age."""

    doubted: bool
    too_old: bool
    chosen: dict[str, str | None]
    reasons: dict[str, frozenset[tuple[str, datetime | None]]]
    removed: frozenset[str]


# The calendar


def night_of(at: datetime, zone: ZoneInfo) -> date:
    """From noon to noon, called by the day it begins."""
    there = at.astimezone(zone)
    return there.date() if there.hour >= 12 else there.date() - DAY


@cache
def week_key(night: date) -> str:
    year, week, _ = night.isocalendar()
    return f"week:{year}-W{week:02}"


@cache
def month_key(night: date) -> str:
    return f"month:{night.year}-{night.month:02}"


def keys_of(night: date) -> tuple[str, str]:
    return week_key(night), month_key(night)


@cache
def nights_of(key: str, one: date) -> tuple[date, date]:
    """The first and the last night of the period with that key, found by walking from one of its nights."""
    first = last = one
    while key in keys_of(first - DAY):
        first -= DAY
    while key in keys_of(last + DAY):
        last += DAY
    return first, last


def closes(last: date, zone: ZoneInfo) -> datetime:
    """The noon that ends the night after the last one."""
    day = last + DAY + DAY
    return datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)


def years_later(at: datetime, years: int) -> datetime:
    """The same day, or the 28th of February in a year without a 29th."""
    try:
        return at.replace(year=at.year + years)
    except ValueError:
        return at.replace(year=at.year + years, day=28)


# The sets at a pass


@dataclass(frozen=True)
class Seen:
    id: str
    night: date
    at: datetime
    good: bool
    proved: bool
    damaged: bool


def policy_at(story: Story, moment: datetime) -> Policy:
    """The version made last of those that have begun."""
    newest = story.policies[0]
    for one in story.policies:
        if one.in_force_from <= moment and one.number > newest.number:
            newest = one
    return newest


def years_at(story: Story, moment: datetime) -> int:
    years = None
    for since, agreed in story.agreed:
        if since <= moment:
            years = agreed
    return years if years is not None else policy_at(story, moment).longest_years


def happened(moment: datetime | None, true: datetime) -> bool:
    return moment is not None and moment <= true


def seen(story: Story, made: Made, true: datetime) -> Seen:
    """Its night is by the policy in force when it was made, whatever came later."""
    night = night_of(made.at, policy_at(story, made.at).zone) - made.nights_late * DAY
    damaged = happened(made.damaged, true)
    return Seen(made.id, night, made.at, happened(made.protected, true) and not damaged, happened(made.proved, true), damaged)


# The rules


@dataclass
class Memory:
    """What lasts from one pass to the next."""

    chosen: dict[str, str | None] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    before: Pass | None = None
    newest_pass: datetime | None = None


def tell(story: Story) -> Iterator[Told]:
    """Pass by pass, the oldest first."""
    memory = Memory()
    for one in story.passes:
        sets = [seen(story, made, one.true) for made in story.sets if made.made <= one.true and made.id not in memory.removed]
        doubted = in_doubt(story, one, memory, sets)
        memory.before = one
        memory.newest_pass = max(one.now, memory.newest_pass or one.now)
        if doubted and not story.cleared:
            yield Told(True, False, dict(memory.chosen), {}, frozenset())
            continue
        undecided = decide_periods(story, one, memory, sets)
        reasons = {each.id: frozenset(why_kept(story, one, memory, undecided, sets, each)) for each in sets}
        old = too_old(sets, one.now)
        removed = frozenset() if old else frozenset(name for name, why in reasons.items() if not why)
        memory.removed |= removed
        yield Told(doubted, old, dict(memory.chosen), reasons, removed)


def in_doubt(story: Story, one: Pass, memory: Memory, sets: list[Seen]) -> bool:
    """The clock jumped since the last pass, is behind what was already written, or is not what the locations' clocks say."""
    much = timedelta(minutes=5)
    before = memory.before
    if before is not None and before.boot == one.boot and abs((one.now - before.now) - (one.true - before.true)) > much:
        return True
    if memory.newest_pass is not None and memory.newest_pass - one.now > much:
        return True
    if any(each.at - one.now > much for each in sets):
        return True
    return story.locations_tell and abs(one.now - one.true) > much


def decide_periods(story: Story, one: Pass, memory: Memory, sets: list[Seen]) -> set[str]:
    """Records a set for each period that has closed; the keys of owed ones that are not decided."""
    zone = policy_at(story, one.now).zone
    newest = max([night_of(one.now, zone), *(each.night for each in sets if each.at <= one.now)])
    end = newest if story.last is None else min(newest, story.last)
    owed: dict[str, date] = {}
    night = story.first
    while night <= end:
        for key in keys_of(night):
            owed.setdefault(key, night)
        night += DAY
    damaged = {each.id for each in sets if each.damaged}
    undecided = set()
    for key, night in owed.items():
        if key in memory.chosen:
            continue
        if closes(nights_of(key, night)[1], zone) <= one.now:
            memory.chosen[key] = best(key, night, sets, one.now)
        else:
            undecided.add(key)
    for key, name in memory.chosen.items():
        if name in damaged:
            memory.chosen[key] = best(key, night_in(key, story.first), sets, one.now)
    return undecided


@cache
def night_in(key: str, first: date) -> date:
    """The first night of that period, from a night before its end on."""
    night = first
    while key not in keys_of(night):
        night += DAY
    return night


def best(key: str, night: date, sets: list[Seen], now: datetime) -> str | None:
    """The last good set in the period; else the nearest; of two as near the later; else none."""
    first, last = nights_of(key, night)
    good = [each for each in sets if each.good and each.at <= now]
    inside = [each for each in good if first <= each.night <= last]
    if inside:
        return latest(inside).id
    if not good:
        return None
    nights_between = {each.id: (first - each.night).days if each.night < first else (each.night - last).days for each in good}
    nearest = min(nights_between.values())
    return latest([each for each in good if nights_between[each.id] == nearest]).id


def latest(sets: list[Seen]) -> Seen:
    return max(sets, key=lambda each: (each.night, each.at, each.id))


def why_kept(
    story: Story, one: Pass, memory: Memory, undecided: set[str], sets: list[Seen], each: Seen
) -> Iterator[tuple[str, datetime | None]]:
    policy = policy_at(story, one.now)
    last_day = years_later(each.at, years_at(story, one.now))
    chosen_for = [key for key, name in memory.chosen.items() if name == each.id]

    nightly = min(each.at + policy.nightly_days * DAY, last_day)
    if one.now <= nightly:
        yield "nightly", nightly
    weekly = min(each.at + policy.nightly_days * DAY + policy.weekly_weeks * WEEK, last_day)
    if any(key.startswith("week:") for key in chosen_for) and one.now <= weekly:
        yield "weekly", weekly
    if any(key.startswith("month:") for key in chosen_for) and one.now <= last_day:
        yield "monthly", last_day

    usable = [other for other in sets if other.good and other.at <= one.now]
    for key in keys_of(each.night):
        fellows = [other for other in usable if key in keys_of(other.night)]
        if key in undecided and each in fellows and latest(fellows) == each and one.now <= last_day:
            yield "candidate", None

    good = [other for other in sets if other.good]
    proved = [other for other in good if other.proved]
    if each.id in newest_ids(good, one.now):
        yield "newest", None
    if each.id in newest_ids(proved, one.now):
        yield "newest proved", None
    if one.held:
        yield "legal hold", None
    if each.id in one.read:
        yield "being read", None


def newest_ids(sets: list[Seen], now: datetime) -> set[str]:
    """The newest of all, and the newest of those that are not in the future."""
    found = set()
    for some in (sets, [each for each in sets if each.at <= now]):
        if some:
            found.add(max(some, key=lambda each: (each.at, each.id)).id)
    return found


def too_old(sets: list[Seen], now: datetime) -> bool:
    """No good set of the last 48 hours."""
    return not any(each.good and timedelta() <= now - each.at <= timedelta(hours=48) for each in sets)
