"""Which sets are kept, until when and why (pure: no Django, no clock, no settings; P6, P9; design section 7).

A set is kept while any rule holds. By age, counted from the moment whose state it holds:

* nightly: `nightly_days` after it;
* weekly: chosen for a week, so many weeks longer;
* monthly: chosen for a month, for as long as the customer's agreement lets anything be kept (`Term`), which also ends the others;
* candidate: the best one yet of a week or month that is not decided, until it is.

Whatever its age: the newest good set and the newest proved one, every set of a customer under a legal hold, and one that is being read.

One set is chosen for each week and month, once, when the period closes: the last good set in it; else the nearest good one stands in (of
two equally near the later, for it holds the period's history); else the period is missed. What was chosen is recorded by the caller and
never chosen again, but when it is found damaged beyond mending: then the next best takes its place. Good is a set that is whole at every
required location and not damaged; a set from the future is never chosen, for the clock was wrong when it was made.
"""

from __future__ import annotations

from calendar import isleap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, date, datetime, timedelta
from enum import StrEnum

from backups.policy import Policy
from backups.slots import Period, Tier

# A set older than this is no proof that backups go on: nothing is removed then.
NEWEST_AT_MOST = timedelta(hours=48)
# By how much two clocks may part.
CLOCKS_PART = timedelta(minutes=5)


class Rule(StrEnum):
    """Why a set is kept."""

    NIGHTLY = "nightly"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    CANDIDATE = "candidate"
    NEWEST = "newest"
    PROVED = "newest proved"
    HOLD = "legal hold"
    READ = "being read"


@dataclass(frozen=True, slots=True)
class Stored:
    """A set as it is decided on. `at` is the moment whose state it holds; `good`: at every required location, and not damaged."""

    id: str
    night: date
    at: datetime
    good: bool = True
    proved: bool = True


@dataclass(frozen=True, slots=True)
class Term:
    """For how many years at most anything of a customer is kept, and why so many."""

    years: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a period came to: `set_id` None when it is missed; `nights_off` is how far from it the set lies that stands in."""

    period: Period
    set_id: str | None
    nights_off: int = 0

    @property
    def stands_in(self) -> bool:
        return self.nights_off > 0


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule that keeps a set; `until` is None for one that has no date."""

    rule: Rule
    words: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """`goes_at`: until then age keeps it. `reasons` are those that hold now, the longest first; without any it goes."""

    set_id: str
    goes_at: datetime
    reasons: tuple[Reason, ...]
    why_it_goes: str

    @property
    def kept(self) -> bool:
        return bool(self.reasons)

    @property
    def words(self) -> str:
        return "; ".join(reason.words for reason in self.reasons) or self.why_it_goes


# Choosing


def choose(period: Period, sets: Iterable[Stored], now: datetime) -> Choice:
    """The set for a period that closes: its last good one, else the nearest, else none."""
    best = max((one for one in sets if one.good and one.at <= now), key=lambda one: _rank(period, one), default=None)
    return Choice(period, None) if best is None else Choice(period, best.id, period.distance(best.night))


def _rank(period: Period, one: Stored) -> tuple[int, date, datetime, str]:
    return -period.distance(one.night), one.night, one.at, one.id


def candidates(open_periods: Iterable[Period], sets: Sequence[Stored], now: datetime) -> dict[str, list[Period]]:
    """For the best set yet of each period that is not decided: which ones those are."""
    found: dict[str, list[Period]] = {}
    for period in open_periods:
        own = [one for one in sets if not period.distance(one.night)]
        choice = choose(period, own, now)
        if choice.set_id is not None:
            found.setdefault(choice.set_id, []).append(period)
    return found


def newest(sets: Iterable[Stored], now: datetime) -> dict[str, list[Reason]]:
    """The sets that are kept at any age. Of sets from the future the newest is kept beside the newest of the past: one of them is right."""
    good = sorted((one for one in sets if one.good), key=lambda one: (one.at, one.id))
    past = [one for one in good if one.at <= now]
    found: dict[str, list[Reason]] = {}
    for those in (past, good):
        for rule, words, of in ((Rule.NEWEST, "the newest good set", those), (Rule.PROVED, "the newest proved set", _proved(those))):
            if of and rule not in {reason.rule for reason in found.get(of[-1].id, ())}:
                found.setdefault(of[-1].id, []).append(Reason(rule, words))
    return found


def _proved(sets: Iterable[Stored]) -> list[Stored]:
    return [one for one in sets if one.proved]


# Deciding


def ends(at: datetime, years: int) -> datetime:
    """The same moment so many years later, of 29 February the day before; never beyond the calendar's end."""
    if at.year + years > MAXYEAR:
        return datetime.max.replace(tzinfo=at.tzinfo)
    day = 28 if (at.month, at.day) == (2, 29) and not isleap(at.year + years) else at.day
    return at.replace(year=at.year + years, day=day)


def aged(
    one: Stored, chosen: Iterable[Period], open_for: Iterable[Period], policy: Policy, term: Term, now: datetime
) -> tuple[list[Reason], datetime]:
    """The rules that go by age, whether they still hold or not, each with its date, the longest first; and when the last of them ends.

    `chosen` are the periods that the set was chosen for, `open_for` those for which it is the best one yet.
    """
    limit = ends(one.at, term.years)
    nightly = one.at + timedelta(days=policy.nightly_days)
    weekly = nightly + timedelta(weeks=policy.weekly_weeks)
    found = [Reason(Rule.NIGHTLY, f"nightly, kept {_counted(policy.nightly_days, 'day')}", nightly)]
    for period in chosen:
        found.append(_of_period(period, one, weekly if period.tier is Tier.WEEK else limit))
    for period in open_for:
        found.append(Reason(Rule.CANDIDATE, f"the best one yet for {period.key}", max(period.closes_at(policy.zone), now)))
    capped = [Reason(reason.rule, reason.words, min(reason.until or limit, limit)) for reason in found]
    capped.sort(key=lambda reason: reason.until or limit, reverse=True)
    return capped, capped[0].until or limit


def _of_period(period: Period, one: Stored, until: datetime) -> Reason:
    rule = Rule.WEEKLY if period.tier is Tier.WEEK else Rule.MONTHLY
    stands_in = "stands in for" if period.distance(one.night) else "chosen for"
    return Reason(rule, f"{stands_in} {period.key}", until)


def decide(
    one: Stored,
    *,
    chosen: Iterable[Period],
    open_for: Iterable[Period],
    at_any_age: Iterable[Reason],
    policy: Policy,
    term: Term,
    now: datetime,
    held: bool = False,
    read: bool = False,
) -> Decision:
    """One set. `at_any_age` is what `newest` says of it."""
    by_age, goes_at = aged(one, chosen, open_for, policy, term, now)
    undated = [*([Reason(Rule.HOLD, "a legal hold is open")] if held else ()), *at_any_age]
    if read:
        undated.append(Reason(Rule.READ, "it is being read"))
    holding = [reason for reason in by_age if reason.until is not None and now <= reason.until]
    return Decision(one.id, goes_at, (*undated, *holding), _why_it_goes(one, by_age, goes_at, term))


def _why_it_goes(one: Stored, by_age: Sequence[Reason], goes_at: datetime, term: Term) -> str:
    if goes_at == ends(one.at, term.years):
        return f"older than {_counted(term.years, 'year')}" + (f": {term.why}" if term.why else "")
    return f"{by_age[0].words}, until {goes_at:%Y-%m-%d}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def decided(
    sets: Sequence[Stored],
    choices: Iterable[Choice],
    open_periods: Iterable[Period],
    policy: Policy,
    term: Term,
    now: datetime,
    *,
    held: bool = False,
    read: Collection[str] = (),
    about: Collection[str] | None = None,
) -> list[Decision]:
    """One customer's sets (of these only the ones `about` which it is asked), as `decide` has each."""
    chosen: dict[str, list[Period]] = {}
    for choice in choices:
        if choice.set_id is not None:
            chosen.setdefault(choice.set_id, []).append(choice.period)
    open_for, at_any_age = candidates(open_periods, sets, now), newest(sets, now)
    return [
        decide(
            one,
            chosen=chosen.get(one.id, ()),
            open_for=open_for.get(one.id, ()),
            at_any_age=at_any_age.get(one.id, ()),
            policy=policy,
            term=term,
            now=now,
            held=held,
            read=one.id in read,
        )
        for one in sets
        if about is None or one.id in about
    ]


@dataclass(frozen=True, slots=True)
class Moved:
    """When a set would go by one policy and by another."""

    set_id: str
    old: datetime
    new: datetime


def what_if(
    sets: Iterable[Stored], choices: Iterable[Choice], old: tuple[Policy, Term], new: tuple[Policy, Term], now: datetime
) -> list[Moved]:
    """The sets that would go at another time by age alone; what is kept at any age stays under both."""
    chosen: dict[str, list[Period]] = {}
    for choice in choices:
        if choice.set_id is not None:
            chosen.setdefault(choice.set_id, []).append(choice.period)
    found = []
    for one in sets:
        before, after = (aged(one, chosen.get(one.id, ()), (), policy, term, now)[1] for policy, term in (old, new))
        if before != after:
            found.append(Moved(one.id, before, after))
    return found


# When nothing goes


def too_old(sets: Iterable[Stored], now: datetime) -> str:
    """Why nothing of a customer is removed now: its newest good set is too old, or there is none. Empty when all is well."""
    past = [one.at for one in sets if one.good and one.at <= now]
    if not past:
        return "there is no good set"
    if now - max(past) > NEWEST_AT_MOST:
        return f"the newest good set is of {max(past):%Y-%m-%d %H:%M} UTC, more than 48 hours old"
    return ""


@dataclass(frozen=True, slots=True)
class Mark:
    """What two clocks of one machine said together: the wall's, and the seconds since it was started (`boot` tells starts apart)."""

    boot: str
    seconds: float
    at: datetime


def doubts(
    now: Mark, before: Mark | None, newest_event: datetime | None, newest_set: datetime | None, elsewhere: dict[str, datetime]
) -> list[str]:
    """Why the clock cannot be trusted to say how old anything is; empty when it can. `elsewhere` is what the locations' clocks say."""
    found = []
    if before is not None and before.boot == now.boot:
        parted = (now.at - before.at) - timedelta(seconds=now.seconds - before.seconds)
        if abs(parted) > CLOCKS_PART:
            found.append(
                f"since {before.at:%Y-%m-%d %H:%M} UTC the clock was set {'on' if parted > timedelta() else 'back'} by {_about(parted)}"
            )
    if newest_event is not None and newest_event - now.at > CLOCKS_PART:
        found.append(f"the newest event is of {newest_event:%Y-%m-%d %H:%M} UTC, {_about(newest_event - now.at)} ahead of the clock")
    if newest_set is not None and newest_set - now.at > CLOCKS_PART:
        found.append(f"the newest set is of {newest_set:%Y-%m-%d %H:%M} UTC, {_about(newest_set - now.at)} ahead of the clock")
    for name, theirs in sorted(elsewhere.items()):
        if abs(theirs - now.at) > CLOCKS_PART:
            way = "ahead of" if theirs > now.at else "behind"
            found.append(f"{name}'s clock says {theirs:%Y-%m-%d %H:%M} UTC, {_about(theirs - now.at)} {way} ours")
    return found


def _about(length: timedelta) -> str:
    minutes = round(abs(length).total_seconds() / 60)
    if minutes < 120:
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 60 * 48 else f"{minutes // (60 * 24)} days"
