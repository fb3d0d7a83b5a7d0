"""A story of retention told by the product's own pure functions, pass by pass, as a prune uses them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from backups.policy import Policy, in_force
from backups.retention import Choice, Decision, Mark, Rule, Stored, Term, choose, decided, doubts, too_old
from backups.slots import Period, Tier, night_of, periods
from tests.backups.naive_retention import Made, Pass, Story, Told

BY_AGE = (Rule.NIGHTLY, Rule.WEEKLY, Rule.MONTHLY)


@dataclass
class Catalogue:
    """What the product would have in its tables."""

    choices: dict[str, Choice] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    mark: Mark | None = None
    newest_event: datetime | None = None


@dataclass(frozen=True)
class Look:
    """What one pass came to; in doubt about the clock it decides nothing."""

    doubts: list[str]
    chosen: dict[str, str | None]
    old: str = ""
    decisions: tuple[Decision, ...] = ()

    @property
    def removed(self) -> frozenset[str]:
        return frozenset() if self.old else frozenset(one.set_id for one in self.decisions if not one.kept)


def drive(story: Story) -> Iterator[Told]:
    """In the oracle's words."""
    for look in looks(story):
        yield Told(bool(look.doubts), bool(look.old), look.chosen, {each.set_id: reasons(each) for each in look.decisions}, look.removed)


def looks(story: Story) -> Iterator[Look]:
    """Pass by pass, the oldest first."""
    known = Catalogue()
    for one in story.passes:
        made = [each for each in story.sets if each.made <= one.true and each.id not in known.removed]
        sets = [stored(story, each, one.true) for each in made]
        found = doubts_of(story, one, known, sets)
        if found and not story.cleared:
            yield Look(found, chosen(known))
            continue
        damaged = {each.id for each in made if each.damaged is not None and each.damaged <= one.true}
        decisions = decide(story, one, known, sets, damaged)
        look = Look(found, chosen(known), too_old(sets, one.now), tuple(decisions))
        known.removed |= look.removed
        yield look


def stored(story: Story, made: Made, true: datetime) -> Stored:
    night = night_of(made.at, in_force(story.policies, made.at).zone) - timedelta(days=made.nights_late)
    damaged = made.damaged is not None and made.damaged <= true
    protected = made.protected is not None and made.protected <= true
    return Stored(made.id, night, made.at, protected and not damaged, made.proved is not None and made.proved <= true)


def doubts_of(story: Story, one: Pass, known: Catalogue, sets: list[Stored]) -> list[str]:
    """The clock's doubts, and the pass's own mark and event for the next one."""
    mark = Mark(one.boot, one.true.timestamp(), one.now)
    newest_set = max((each.at for each in sets), default=None)
    found = doubts(mark, known.mark, known.newest_event, newest_set, {"offsite": one.true} if story.locations_tell else {})
    known.mark = mark
    known.newest_event = max(one.now, known.newest_event or one.now)
    return found


def decide(story: Story, one: Pass, known: Catalogue, sets: list[Stored], damaged: set[str]) -> list[Decision]:
    policy = in_force(story.policies, one.now)
    undecided = []
    for period in owed(story, one, policy, sets):
        if period.key in known.choices:
            continue
        if period.closes_at(policy.zone) <= one.now:
            known.choices[period.key] = choose(period, sets, one.now)
        else:
            undecided.append(period)
    for key, choice in known.choices.items():
        if choice.set_id in damaged:
            known.choices[key] = choose(choice.period, sets, one.now)
    return decided(sets, known.choices.values(), undecided, policy, term(story, one, policy), one.now, held=one.held, read=one.read)


def owed(story: Story, one: Pass, policy: Policy, sets: list[Stored]) -> Iterator[Period]:
    nights: list[date] = [night_of(one.now, policy.zone), *(each.night for each in sets if each.at <= one.now)]
    last = max(nights) if story.last is None else min(max(nights), story.last)
    for tier in (Tier.WEEK, Tier.MONTH):
        yield from periods(tier, story.first, last)


def term(story: Story, one: Pass, policy: Policy) -> Term:
    agreed = [years for since, years in story.agreed if since <= one.now]
    return Term(agreed[-1] or policy.longest_years if agreed else policy.longest_years)


def chosen(known: Catalogue) -> dict[str, str | None]:
    return {key: choice.set_id for key, choice in known.choices.items()}


def reasons(decision: Decision) -> frozenset[tuple[str, datetime | None]]:
    return frozenset((each.rule.value, each.until if each.rule in BY_AGE else None) for each in decision.reasons)
