"""Retention against an oracle of its own (P6): random stories of a customer's sets come out the same, pass by pass."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.policy import Policy
from backups.slots import Tier, month_of, night_called, night_of, period_called, periods, week_of
from tests.backups import naive_retention as naive
from tests.backups.naive_retention import DAY, WEEK, Made, Pass, Story, Told, tell
from tests.backups.retention_driver import drive

# Around them lie ISO weeks 53 and 1, leap days, both changes of the clocks, and the day that Apia left out.
STARTS = (
    date(2020, 12, 20),
    date(2026, 12, 20),
    date(2032, 12, 20),
    date(2024, 2, 20),
    date(2028, 2, 1),
    date(2026, 3, 20),
    date(2026, 10, 18),
    date(2026, 4, 1),
    date(2011, 12, 20),
)
ZONES = [ZoneInfo(name) for name in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC")]
TIMES = (time(2), time(22), time(11, 59, 59), time(12), time(2, 30))
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


@dataclass
class Plan:
    """A story in the making: what was drawn of it."""

    draw: Callable[[Any], Any]
    start: date
    zone: ZoneInfo
    stride: int
    sets: list[Made]
    policies: list[Policy]
    agreed: list[tuple[datetime, int | None]]
    hold: tuple[datetime, datetime] | None = None
    # From when to when the machine's clock is wrong, and by how much; and whether the machine was started anew in between.
    wrong: tuple[datetime, datetime, timedelta] | None = None
    restarted: bool = False

    def day(self, number: int, at: time = time(2)) -> datetime:
        return datetime.combine(self.start + number * DAY, at, self.zone).astimezone(UTC)

    def a_day(self) -> int:
        return int(self.draw(st.integers(0, self.length)))

    @property
    def length(self) -> int:
        return self.stride * len(self.sets)

    def clock(self, true: datetime) -> datetime:
        if self.wrong is not None and self.wrong[0] <= true < self.wrong[1]:
            return true + self.wrong[2]
        return true


def a_policy(draw: Callable[[Any], Any], number: int, since: datetime, zone: ZoneInfo) -> Policy:
    return Policy(
        number,
        since,
        zone=zone,
        nightly_days=draw(st.sampled_from([28, 1, 7, 60])),
        weekly_weeks=draw(st.sampled_from([52, 0, 4])),
        longest_years=draw(st.sampled_from([1, 2, 3, 4, 1, 2, 20])),
    )


@st.composite
def stories(draw: Callable[[Any], Any]) -> Story:
    plan = drawn_plan(draw)
    odd_sets(plan)
    misfortunes(plan)
    plan.sets = [replace(one, at=one.at + (plan.clock(one.made) - one.made)) for one in plan.sets]
    passes, fresh = drawn_passes(plan)
    return Story(
        first=plan.start + DAY * draw(st.sampled_from([0, 0, 0, 3, -10, -45])),
        last=draw(st.sampled_from([None, None, None, plan.start + DAY * (plan.length // 2)])),
        policies=tuple(plan.policies),
        agreed=tuple(plan.agreed),
        sets=(*plan.sets, *fresh),
        passes=passes,
        locations_tell=draw(st.sampled_from([False, False, True])),
        cleared=draw(st.sampled_from([True, True, False])),
    )


def drawn_plan(draw: Callable[[Any], Any]) -> Plan:
    """Sets at one hour, a night or many nights apart; two in some nights, none in others."""
    start = draw(st.sampled_from(STARTS)) + DAY * draw(st.integers(-8, 8))
    zone, stride = draw(st.sampled_from(ZONES)), draw(st.sampled_from([1, 1, 2, 3, 7, 11, 30]))
    plan = Plan(draw, start, zone, stride, [], [], [])
    plan.policies.append(a_policy(draw, 1, plan.day(-400), zone))
    plan.agreed.append((plan.day(-400), draw(st.sampled_from([None, None, None, 1, 1, 1, 30]))))
    at = draw(st.sampled_from(TIMES))
    for number in range(draw(st.integers(3, 24))):
        moment = plan.day(number * stride, at)
        plan.sets.append(Made(f"s{number:02}", moment, moment, protected=moment, proved=moment))
    return plan


ODD = (
    "two",
    "two, one late",
    "gap",
    "gap",
    "future",
    "future",
    "late",
    "unprotected",
    "protected later",
    "unproved",
    "damaged",
    "damaged",
    "none good",
)


def odd_sets(plan: Plan) -> None:
    for number, kind in enumerate(plan.draw(st.lists(st.sampled_from(ODD), max_size=6))):
        index = plan.draw(st.integers(0, len(plan.sets) - 1))
        one = plan.sets[index]
        if kind == "gap":
            until = one.made + DAY * plan.draw(st.sampled_from([1, 6, 21, 45]))
            plan.sets = [each for each in plan.sets if not one.made < each.made < until]
        elif kind == "none good":
            plan.sets = [replace(each, protected=None) if each.made <= one.made else each for each in plan.sets]
        elif kind.startswith("two"):
            nights_late = 1 if kind == "two, one late" else 0
            plan.sets.append(replace(one, id=f"t{number}", at=one.at + HOUR, made=one.made + HOUR, nights_late=nights_late))
        else:
            plan.sets[index] = odd(plan, kind, one)


def odd(plan: Plan, kind: str, one: Made) -> Made:
    days = DAY * plan.draw(st.sampled_from([1, 3, 12, 40]))
    match kind:
        case "future":
            return replace(one, at=one.at + days)
        case "late":
            return replace(one, nights_late=1)
        case "unprotected":
            return replace(one, protected=None)
        case "protected later":
            return replace(one, protected=one.made + days)
        case "unproved":
            return replace(one, proved=None)
    return replace(one, damaged=one.made + days)


def misfortunes(plan: Plan) -> None:
    """What changes on the way, each of it at most once."""
    for kind in plan.draw(st.lists(st.sampled_from(["policy", "policy", "zone", "term", "hold", "clock"]), max_size=2)):
        day = plan.day(plan.a_day(), time(12))
        zone = plan.policies[-1].zone
        match kind:
            case "policy":
                plan.policies.append(a_policy(plan.draw, len(plan.policies) + 1, day, zone))
            case "zone":
                other = plan.draw(st.sampled_from(ZONES))
                plan.policies.append(replace(plan.policies[-1], number=len(plan.policies) + 1, in_force_from=day, zone=other))
            case "term":
                plan.agreed = [*plan.agreed[:1], (day, plan.draw(st.sampled_from([None, 1, 2])))]
            case "hold":
                plan.hold = (day, day + DAY * plan.draw(st.sampled_from([5, 90, 900])))
            case "clock":
                hours = plan.draw(st.sampled_from([-1, -30, -24 * 20, 2, 24 * 10, 24 * 50]))
                plan.wrong = (day, day + DAY * plan.draw(st.sampled_from([3, 15])), HOUR * hours)
                plan.restarted = plan.draw(st.booleans())


def drawn_passes(plan: Plan) -> tuple[tuple[Pass, ...], list[Made]]:
    """On some days, and at the very moments when something ends or is decided; most have a set that was made shortly before."""
    moments = [a_moment(plan) for _ in range(plan.draw(st.integers(2, 6)))]
    if plan.wrong is not None:
        moments += [plan.wrong[0] - plan.draw(st.sampled_from([HOUR, 2 * DAY])), plan.wrong[0] + HOUR, plan.wrong[1] + HOUR]
    found, fresh, names = [], [], [one.id for one in plan.sets]
    for number, true in enumerate(sorted(moments)):
        now = plan.clock(true)
        age = plan.draw(st.sampled_from([HOUR, HOUR, HOUR, 2 * DAY, 2 * DAY + SECOND, None]))
        if age is not None:
            proved = plan.draw(st.sampled_from([true - age, true - age, None]))
            fresh.append(Made(f"f{number}", now - age, true - age, protected=true - age, proved=proved))
        held = plan.hold is not None and plan.hold[0] <= true < plan.hold[1]
        read = frozenset(plan.draw(st.sampled_from([[], [], names[:1], names[1:3]])))
        boot = "second" if plan.wrong is not None and plan.restarted and true >= plan.wrong[0] else "first"
        found.append(Pass(true, now, boot, held, read))
    return tuple(found), fresh


def a_moment(plan: Plan) -> datetime:
    kind = plan.draw(st.sampled_from(["day", "day", "nightly", "weekly", "years", "week", "month"]))
    if kind == "day":
        return plan.day(plan.a_day() + plan.draw(st.sampled_from([0, 2, 30, 100, -plan.length])), plan.draw(st.sampled_from(TIMES)))
    one = plan.draw(st.sampled_from(plan.sets))
    policy = plan.policies[plan.draw(st.integers(0, len(plan.policies) - 1))]
    return at_the_edge(plan, kind, one, policy) + plan.draw(st.sampled_from([timedelta(), SECOND, -SECOND]))


def at_the_edge(plan: Plan, kind: str, one: Made, policy: Policy) -> datetime:
    night = naive.night_of(one.at, policy.zone)
    match kind:
        case "nightly":
            return one.at + DAY * policy.nightly_days
        case "weekly":
            return one.at + DAY * policy.nightly_days + WEEK * policy.weekly_weeks
        case "week":
            return naive.closes(naive.nights_of(naive.week_key(night), night)[1], policy.zone)
        case "month":
            return naive.closes(naive.nights_of(naive.month_key(night), night)[1], policy.zone)
    return naive.years_later(one.at, plan.agreed[-1][1] or policy.longest_years)


# What has to be met for the agreement to say anything

HARD = {
    "a week 53",
    "a week 1",
    "a set of a leap day",
    "two sets in a night",
    "stood in",
    "missed",
    "chosen again",
    "removed",
    "nothing removed: too old",
    "in doubt",
    "in doubt, cleared",
    "a set of the future",
    "another policy",
    "another zone",
    "another term",
    "agreed for 1 year",
    "agreed for 30 years",
    "nightly 1 day, no weeks",
    "unprotected",
    "unproved",
    "ended",
    "clocks forward",
    "clocks back",
    "a 29th kept until a 28th",
    *(
        f"only {rule}"
        for rule in ("nightly", "weekly", "monthly", "candidate", "newest, newest proved", "newest proved", "legal hold", "being read")
    ),
    *(zone.key for zone in ZONES),
}


def met(story: Story, told: list[Told]) -> set[str]:
    """Which of the hard things the story has."""
    found = {one.zone.key for one in story.policies}
    found |= {"another policy"} if len(story.policies) > 1 else set()
    found |= {"another zone"} if len({one.zone for one in story.policies}) > 1 else set()
    found |= {"another term"} if len(story.agreed) > 1 else set()
    found |= {"ended"} if story.last is not None else set()
    found |= {f"agreed for {years} year{'s' if years > 1 else ''}" for _, years in story.agreed if years}
    if any(one.nightly_days == 1 and one.weekly_weeks == 0 for one in story.policies):
        found.add("nightly 1 day, no weeks")
    found |= met_by_sets(story)
    before: dict[str, str | None] = {}
    for one, came in zip(story.passes, told, strict=True):
        found |= met_by_pass(story, one, came, before)
        before = came.chosen
    return found


def met_by_sets(story: Story) -> set[str]:
    found = set()
    nights = [naive.seen(story, one, one.made).night for one in story.sets]
    found |= {"a set of a leap day"} if any((night.month, night.day) == (2, 29) for night in nights) else set()
    found |= {"two sets in a night"} if len(set(nights)) < len(nights) else set()
    found |= {"unprotected"} if any(one.protected is None for one in story.sets) else set()
    found |= {"unproved"} if any(one.proved is None for one in story.sets) else set()
    zone = story.policies[0].zone
    offsets = [moment.astimezone(zone).utcoffset() or timedelta() for moment in sorted(one.made for one in story.sets)]
    for earlier, later in itertools.pairwise(offsets):
        found |= {"clocks forward"} if later > earlier else {"clocks back"} if later < earlier else set()
    return found


def met_by_pass(story: Story, one: Pass, came: Told, before: dict[str, str | None]) -> set[str]:
    found = {f"only {', '.join(sorted({rule for rule, _ in why}))}" for why in came.reasons.values()}
    found |= {"removed"} if came.removed else set()
    found |= {"nothing removed: too old"} if came.too_old and any(not why for why in came.reasons.values()) else set()
    found |= {"in doubt, cleared" if story.cleared else "in doubt"} if came.doubted else set()
    at = {each.id: each.at for each in story.sets}
    nights = {each.id: naive.seen(story, each, each.made).night for each in story.sets}
    found |= {"a set of the future"} if any(at[name] > one.now for name in came.reasons) else set()
    for key, name in came.chosen.items():
        found |= {"a week 53"} if key.endswith("-W53") else {"a week 1"} if key.endswith("-W01") else set()
        found |= {"missed"} if name is None else set()
        found |= {"chosen again"} if before.get(key, name) != name else set()
        found |= {"stood in"} if name is not None and key not in naive.keys_of(nights[name]) else set()
    ends = {(at[name], end) for name, why in came.reasons.items() for rule, end in why if end is not None and rule == "monthly"}
    found |= {"a 29th kept until a 28th"} if any((since.day, end.month, end.day) == (29, 2, 28) for since, end in ends) else set()
    return found


def agree(story: Story) -> list[Told]:
    """Both tell the same of every pass, else the first one that differs is shown."""
    told = []
    for number, (ours, theirs) in enumerate(zip(tell(story), drive(story), strict=True)):
        assert theirs == ours, f"pass {number} at {story.passes[number].now}"
        told.append(ours)
    return told


def search(max_examples: int, derandomize: bool) -> Counter[str]:
    """So many stories; what was met in how many of them."""
    counted: Counter[str] = Counter()

    @settings(max_examples=max_examples, derandomize=derandomize, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(stories())
    def once(story: Story) -> None:
        counted.update(met(story, agree(story)))

    once()
    return counted


def test_random_stories_come_out_as_the_rules_say() -> None:
    search(200, derandomize=True)


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor == "postgresql", reason="it asks no database: once is enough")
def test_ten_thousand_stories_come_out_as_the_rules_say_and_leave_nothing_hard_out() -> None:
    counted = search(10_000, derandomize=False)
    assert not {each: counted[each] for each in HARD if not counted[each]}


# Keys


def test_keys_of_tiers_never_share_a_name_space() -> None:
    """A well-known tool loses weeks 2 to 12, because it calls weeks and months alike."""
    first, last = date(2020, 1, 1), date(2045, 12, 31)
    nights = {night_called(first + number * DAY).key for number in range((last - first).days + 1)}
    weeks = {period.key for period in periods(Tier.WEEK, first, last)}
    months = {period.key for period in periods(Tier.MONTH, first, last)}
    assert (len(weeks), len(months)) == (1357, 312)
    assert len(nights | weeks | months) == len(nights) + len(weeks) + len(months)
    for tier, keys in ((Tier.NIGHT, nights), (Tier.WEEK, weeks), (Tier.MONTH, months)):
        assert {key.partition(":")[0] for key in keys} == {tier.value}


@pytest.mark.parametrize("night", [date(2026, 1, 1) + number * DAY for number in (0, 3, 4, 80, 363, 364, 789)], ids=str)
def test_a_key_says_which_night_week_or_month_it_is(night: date) -> None:
    for period in (night_called(night), week_of(night), month_of(night)):
        assert period_called(period.key) == period
        assert period.first <= night <= period.last
    assert [week_of(night).key, month_of(night).key] == list(naive.keys_of(night))


@given(st.datetimes(datetime(2011, 12, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.sampled_from(ZONES))
def test_a_week_and_a_month_are_over_at_the_noon_that_the_calendar_says(moment: datetime, zone: ZoneInfo) -> None:
    night = night_of(moment, zone)
    assert night == naive.night_of(moment, zone)
    for period in (week_of(night), month_of(night)):
        assert (period.first, period.last) == naive.nights_of(period.key, night)
        assert period.closes_at(zone) == naive.closes(period.last, zone)
