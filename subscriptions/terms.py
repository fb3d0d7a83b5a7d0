"""Kept until when, and why (P9), and destroyed within how many days (P12). Pure: no Django, no clock, no settings.

Hold > agreed term > standard. The standard is the subscription or 20 years since the item's last change, whichever is first. Of
several subscriptions the one that keeps the item longest counts: no promise is broken because another one is shorter.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, timedelta
from enum import StrEnum
from itertools import pairwise

STANDARD_YEARS = 20
STANDARD_DESTRUCTION_DAYS = 30
# What lets data go sooner takes effect so long after its approval.
SHORTER_BEGINS_AFTER = timedelta(days=7)
# The columns of a subscription that say how long data is kept.
AGREED = ("end", "agreed_retention_years", "agreed_destruction_days")


class Rule(StrEnum):
    """What decides, the strongest first."""

    HOLD = "hold"
    AGREED_TERM = "agreed term"
    SUBSCRIPTION_END = "end of the subscription"
    TWENTY_YEARS = "20 years since the last change"


@dataclass(frozen=True, slots=True)
class SubscriptionTerms:
    """One subscription's dates and agreed terms. `end` is its last day, None while it is open-ended; a term of None is the standard."""

    agreement_number: str
    start: date
    end: date | None = None
    agreed_retention_years: int | None = None
    agreed_destruction_days: int | None = None


@dataclass(frozen=True, slots=True)
class KeptUntil:
    """`until` is the last day on which the item is kept; None under a hold, which has no date."""

    until: date | None
    rule: Rule
    reason: str
    promise: str = "P9"


@dataclass(frozen=True, slots=True)
class Span:
    """Days of a last change, from `first` on and before `before`, for which one rule decides."""

    first: date
    before: date
    rule: Rule


@dataclass(frozen=True, slots=True)
class DestructionDays:
    """Within how many days after the receipt all data and every copy is destroyed."""

    days: int
    reason: str
    promise: str = "P12"


def kept_until(subscriptions: Sequence[SubscriptionTerms], *, last_changed: date, on_hold: bool = False) -> KeptUntil:
    """Until when an item last changed on that day is kept, and why; `ValueError` when there is no subscription."""
    if not subscriptions:
        raise ValueError("A customer without a subscription has no terms: add the subscription first.")
    longest = max((_under(terms, last_changed) for terms in subscriptions), key=_until)
    if on_hold:
        return KeptUntil(None, Rule.HOLD, f"kept while a legal hold is open, whatever was agreed; without the hold: {longest.reason}")
    return longest


def longest_years(subscriptions: Sequence[SubscriptionTerms], standard: int = STANDARD_YEARS) -> tuple[int, str]:
    """For how many years at most anything is kept, and why: the longest of the agreed terms, each without one counting as the standard."""
    found = [
        (terms.agreed_retention_years, f"{_years(terms.agreed_retention_years)}, as agreed in {terms.agreement_number}")
        if terms.agreed_retention_years is not None
        else (standard, f"{_years(standard)}, the standard")
        for terms in subscriptions
    ]
    return max(found, key=lambda one: one[0], default=(standard, f"{_years(standard)}, the standard"))


def past_on(subscriptions: Sequence[SubscriptionTerms], day: date) -> tuple[Span, ...]:
    """When items were last changed that are past their term on that day (the last day on which they are kept lies before it), the oldest
    first. What the end of a subscription decides is not among them: it goes with its customer. Nothing without a subscription."""
    if not subscriptions:
        return ()
    days = sorted({date.min, _first_kept(subscriptions, day), *_turns(subscriptions)})
    past = [(first, before) for first, before in pairwise(days) if _kept(subscriptions, first) < day]
    spans: list[Span] = []
    for first, before in past:
        rule = kept_until(subscriptions, last_changed=first).rule
        if spans and (spans[-1].before, spans[-1].rule) == (first, rule):
            first = spans.pop().first
        spans.append(Span(first, before, rule))
    return tuple(span for span in spans if span.rule != Rule.SUBSCRIPTION_END)


def destruction_days(subscriptions: Sequence[SubscriptionTerms]) -> DestructionDays:
    """Days until destruction, as the subscription that ends last has it (of several, the strictest); `ValueError` when there is none."""
    if not subscriptions:
        raise ValueError("A customer without a subscription has no terms: add the subscription first.")
    last_end = max(terms.end or date.max for terms in subscriptions)
    return min((_destruction(terms) for terms in subscriptions if (terms.end or date.max) == last_end), key=lambda one: one.days)


@dataclass(frozen=True, slots=True)
class TermChange:
    """One of `AGREED` before and after. `shorter`: by it data may go sooner than was agreed."""

    name: str
    old: date | int | None
    new: date | int | None
    shorter: bool


def changes(old: SubscriptionTerms, new: SubscriptionTerms) -> list[TermChange]:
    """What differs, in the order of `AGREED`. When nothing of it is shorter, no item is kept for less long, whenever it last changed."""
    shorter = {
        "end": new.end is not None and (old.end is None or new.end < old.end),
        "agreed_retention_years": _keeps_less(old.agreed_retention_years, new),
        "agreed_destruction_days": _days(new) < _days(old),
    }
    return [
        TermChange(name, getattr(old, name), getattr(new, name), shorter[name])
        for name in AGREED
        if getattr(old, name) != getattr(new, name)
    ]


def _keeps_less(years: int | None, new: SubscriptionTerms) -> bool:
    """By the standard the end of the subscription counts too, which no agreed years heed."""
    if new.agreed_retention_years is not None:
        return new.agreed_retention_years < (STANDARD_YEARS if years is None else years)
    return years is not None and (years > STANDARD_YEARS or new.end is not None)


def _days(terms: SubscriptionTerms) -> int:
    return STANDARD_DESTRUCTION_DAYS if terms.agreed_destruction_days is None else terms.agreed_destruction_days


def years_after(day: date, years: int) -> date:
    """The same day so many years later; 29 February becomes the last day of that February. Never beyond the calendar's end."""
    year = day.year + years
    if year > MAXYEAR:
        return date.max
    return day.replace(year=year, day=min(day.day, calendar.monthrange(year, day.month)[1]))


def _under(terms: SubscriptionTerms, last_changed: date) -> KeptUntil:
    years = terms.agreed_retention_years
    if years is not None:
        reason = f"{_years(years)} since the last change on {last_changed}, as agreed in {terms.agreement_number}"
        return KeptUntil(years_after(last_changed, years), Rule.AGREED_TERM, reason)
    cap = years_after(last_changed, STANDARD_YEARS)
    if terms.end is not None and terms.end <= cap:
        return KeptUntil(terms.end, Rule.SUBSCRIPTION_END, f"the subscription {terms.agreement_number} ends on {terms.end}")
    lasts = "is open-ended" if terms.end is None else f"ends later, on {terms.end}"
    reason = f"{STANDARD_YEARS} years since the last change on {last_changed}; the subscription {terms.agreement_number} {lasts}"
    return KeptUntil(cap, Rule.TWENTY_YEARS, reason)


def _kept(subscriptions: Sequence[SubscriptionTerms], last_changed: date) -> date:
    return _until(kept_until(subscriptions, last_changed=last_changed))


def _first_kept(subscriptions: Sequence[SubscriptionTerms], day: date) -> date:
    """The first day of a last change with which an item is kept on that day still; a later change never shortens."""
    days = range(date.min.toordinal(), date.max.toordinal())
    return date.fromordinal(days[0] + bisect_left(days, day, key=lambda one: _kept(subscriptions, date.fromordinal(one))))


def _turns(subscriptions: Sequence[SubscriptionTerms]) -> set[date]:
    """The days of a last change at which another rule may begin to decide: so many years before a subscription ends (and the days beside,
    for not every year has a 29 February)."""
    years = {STANDARD_YEARS, *(one.agreed_retention_years for one in subscriptions if one.agreed_retention_years is not None)}
    turns = [years_after(one.end, -count) for one in subscriptions for count in years if one.end and one.end.year - count > MINYEAR]
    return {date.fromordinal(turn.toordinal() + beside) for turn in turns for beside in (-1, 0, 1, 2)}


def _until(kept: KeptUntil) -> date:
    return kept.until or date.max


def _destruction(terms: SubscriptionTerms) -> DestructionDays:
    if terms.agreed_destruction_days is None:
        return DestructionDays(STANDARD_DESTRUCTION_DAYS, f"{STANDARD_DESTRUCTION_DAYS} days, the standard")
    return DestructionDays(terms.agreed_destruction_days, f"{terms.agreed_destruction_days} days, as agreed in {terms.agreement_number}")


def _years(count: int) -> str:
    return "1 year" if count == 1 else f"{count} years"
