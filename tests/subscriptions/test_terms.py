from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subscriptions.terms import DestructionDays, Rule, SubscriptionTerms, changes, destruction_days, kept_until, years_after

CHANGED = date(2026, 3, 14)


def subscription(number="A-1", end=None, years=None, days=None):
    return SubscriptionTerms(number, date(2020, 1, 1), end, years, days)


def test_an_open_ended_subscription_keeps_for_twenty_years_since_the_last_change():
    kept = kept_until([subscription()], last_changed=CHANGED)
    assert (kept.until, kept.rule, kept.promise) == (date(2046, 3, 14), Rule.TWENTY_YEARS, "P9")
    assert kept.reason == "20 years since the last change on 2026-03-14; the subscription A-1 is open-ended"


def test_a_subscription_that_ends_first_counts():
    kept = kept_until([subscription(end=date(2027, 12, 31))], last_changed=CHANGED)
    assert (kept.until, kept.rule) == (date(2027, 12, 31), Rule.SUBSCRIPTION_END)
    assert kept.reason == "the subscription A-1 ends on 2027-12-31"


def test_twenty_years_count_when_the_subscription_ends_later():
    kept = kept_until([subscription(end=date(2060, 1, 1))], last_changed=CHANGED)
    assert (kept.until, kept.rule) == (date(2046, 3, 14), Rule.TWENTY_YEARS)
    assert kept.reason.endswith("the subscription A-1 ends later, on 2060-01-01")


@pytest.mark.parametrize(("years", "until"), [(1, date(2027, 3, 14)), (35, date(2061, 3, 14))])
def test_an_agreed_term_wins_over_the_standard_shorter_or_longer(years, until):
    kept = kept_until([subscription(end=date(2030, 1, 1), years=years)], last_changed=CHANGED)
    assert (kept.until, kept.rule) == (until, Rule.AGREED_TERM)
    assert kept.reason.endswith("since the last change on 2026-03-14, as agreed in A-1")


def test_a_hold_wins_over_all_and_has_no_date():
    kept = kept_until([subscription(years=1)], last_changed=CHANGED, on_hold=True)
    assert (kept.until, kept.rule) == (None, Rule.HOLD)
    assert kept.reason.startswith("kept while a legal hold is open") and "1 year since" in kept.reason


def test_of_several_subscriptions_the_longest_counts():
    kept = kept_until([subscription("A-1", end=date(2027, 1, 1)), subscription("A-2", end=date(2029, 1, 1))], last_changed=CHANGED)
    assert (kept.until, "A-2" in kept.reason) == (date(2029, 1, 1), True)


@pytest.mark.parametrize(
    ("day", "years", "later"),
    [
        (date(2024, 2, 29), 20, date(2044, 2, 29)),
        (date(2024, 2, 29), 1, date(2025, 2, 28)),
        (date(2080, 2, 29), 20, date(2100, 2, 28)),
        (date(9990, 1, 1), 20, date.max),
    ],
)
def test_years_later(day, years, later):
    assert years_after(day, years) == later


@pytest.mark.parametrize("decide", [lambda: kept_until([], last_changed=CHANGED), lambda: destruction_days([])])
def test_without_a_subscription_there_is_no_answer(decide):
    with pytest.raises(ValueError, match="without a subscription"):
        decide()


def test_destruction_takes_thirty_days_or_as_agreed():
    assert destruction_days([subscription()]) == DestructionDays(30, "30 days, the standard", "P12")
    assert destruction_days([subscription(days=10)]) == DestructionDays(10, "10 days, as agreed in A-1", "P12")


def test_the_subscription_that_ends_last_decides_on_destruction_and_of_two_the_strictest():
    ended = subscription("A-1", end=date(2025, 1, 1), days=5)
    assert destruction_days([ended, subscription("A-2", days=60)]).days == 60
    assert destruction_days([ended, subscription("A-2", days=60), subscription("A-3")]).days == 30


def last_day(subscriptions, last_changed):
    until = kept_until(subscriptions, last_changed=last_changed).until
    assert until is not None
    return until


dates = st.dates(date(1990, 1, 1), date(2100, 12, 31))
subscriptions = st.lists(
    st.builds(
        subscription,
        number=st.sampled_from(["A-1", "A-2", "A-3"]),
        end=st.none() | dates,
        years=st.none() | st.integers(1, 100),
        days=st.none() | st.integers(1, 365),
    ),
    min_size=1,
    max_size=4,
)


@given(subscriptions, dates, subscriptions)
def test_another_subscription_never_shortens(some, changed, more):
    assert last_day([*some, *more], changed) >= last_day(some, changed)


@given(subscriptions, dates, st.integers(0, 5000))
def test_a_later_change_never_shortens(some, changed, days):
    assert last_day(some, changed + timedelta(days=days)) >= last_day(some, changed)


@given(subscriptions, dates)
def test_nothing_is_kept_longer_than_twenty_years_or_the_agreed_term(some, changed):
    longest = max([20, *(one.agreed_retention_years or 0 for one in some)])
    assert last_day(some, changed) <= years_after(changed, longest)


@given(subscriptions, dates, st.booleans())
def test_the_order_of_subscriptions_is_of_no_matter(some, changed, on_hold):
    answers = [kept_until(order, last_changed=changed, on_hold=on_hold) for order in (some, some[::-1])]
    assert answers[0].until == answers[1].until
    assert destruction_days(some).days == destruction_days(some[::-1]).days


@given(subscriptions, dates)
def test_every_answer_has_its_reason(some, changed):
    kept = kept_until(some, last_changed=changed)
    assert kept.reason and kept.until is not None
    if kept.rule == Rule.TWENTY_YEARS:
        assert kept.until == years_after(changed, 20)


@given(dates, st.integers(0, 100))
def test_years_later_keeps_month_and_day_but_for_29_february(day, years):
    later = years_after(day, years)
    assert later.year == day.year + years and later.month == day.month
    assert later.day == day.day or (day.month == 2 and day.day == 29 and later.day == 28)


@pytest.mark.parametrize(
    ("old", "new", "shorter"),
    [
        ((None, None, None), (None, 19, None), {"agreed_retention_years": True}),
        ((None, None, None), (None, 20, None), {"agreed_retention_years": False}),
        ((None, 25, None), (None, 24, None), {"agreed_retention_years": True}),
        ((None, 25, None), (None, None, None), {"agreed_retention_years": True}),
        ((None, 7, None), (None, None, None), {"agreed_retention_years": False}),
        # By the standard the end counts, by agreed years it did not.
        ((date(2027, 1, 1), 7, None), (date(2027, 1, 1), None, None), {"agreed_retention_years": True}),
        ((None, None, None), (None, None, 29), {"agreed_destruction_days": True}),
        ((None, None, 10), (None, None, None), {"agreed_destruction_days": False}),
        ((None, None, 60), (None, None, None), {"agreed_destruction_days": True}),
        ((None, None, None), (date(2099, 1, 1), None, None), {"end": True}),
        ((date(2027, 1, 2), None, None), (date(2027, 1, 1), None, None), {"end": True}),
        ((date(2027, 1, 1), None, None), (date(2027, 1, 2), None, None), {"end": False}),
        ((date(2027, 1, 1), None, None), (None, None, None), {"end": False}),
        ((None, 7, 10), (None, 7, 10), {}),
    ],
)
def test_what_lets_data_go_sooner_is_shorter(old, new, shorter):
    found = changes(*(subscription(end=end, years=years, days=days) for end, years, days in (old, new)))
    assert {one.name: one.shorter for one in found} == shorter


terms = st.tuples(st.none() | dates, st.none() | st.integers(1, 40), st.none() | st.integers(1, 365))


@given(terms, terms, dates, subscriptions)
def test_what_is_not_shorter_lets_nothing_go_sooner_whenever_it_last_changed(old, new, changed, others):
    before, after = (subscription("A-9", *one) for one in (old, new))
    if not any(one.shorter for one in changes(before, after)):
        assert last_day([after, *others], changed) >= last_day([before, *others], changed)
        assert destruction_days([after]).days >= destruction_days([before]).days
