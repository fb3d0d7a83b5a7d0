"""When items must have been last changed to be past their term on a day: the same as asking item by item (P9). Pure."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from subscriptions.terms import Rule, Span, SubscriptionTerms, kept_until, past_on

TODAY = date(2026, 3, 10)


def subscription(number: str = "A-1", end: date | None = None, years: int | None = None) -> SubscriptionTerms:
    return SubscriptionTerms(number, date(2000, 1, 1), end, years)


def test_twenty_years_and_the_last_day_itself_is_kept() -> None:
    assert past_on([subscription()], TODAY) == (Span(date.min, date(2006, 3, 10), Rule.TWENTY_YEARS),)


def test_an_agreed_term() -> None:
    assert past_on([subscription(years=7)], TODAY) == (Span(date.min, date(2019, 3, 10), Rule.AGREED_TERM),)


def test_of_two_agreements_the_longer_one_keeps() -> None:
    assert past_on([subscription(years=7), subscription("A-2", years=9)], TODAY) == (Span(date.min, date(2017, 3, 10), Rule.AGREED_TERM),)


def test_what_a_subscription_ends_goes_with_its_customer() -> None:
    ended = subscription(end=date(2025, 12, 31))
    assert past_on([ended], TODAY) == (Span(date.min, date(2005, 12, 31), Rule.TWENTY_YEARS),)


def test_without_a_subscription_there_is_no_term() -> None:
    assert past_on([], TODAY) == ()


DAYS = st.dates(date(1990, 1, 1), date(2040, 12, 31))
TERMS = st.builds(subscription, st.just("A"), st.none() | DAYS, st.none() | st.integers(1, 30))


@given(st.lists(TERMS, min_size=1, max_size=3), DAYS, DAYS, st.integers(-2, 2))
@settings(deadline=None)
def test_as_item_by_item(agreed: list[SubscriptionTerms], changed: date, day: date, beside: int) -> None:
    spans = past_on(agreed, day)
    edges = [edge for span in spans for edge in (span.first, span.before) if edge > date(1, 1, 10)]
    for one in (changed, *(edge + timedelta(days=beside) for edge in edges)):
        kept = kept_until(agreed, last_changed=one)
        goes = kept.until is not None and kept.until < day and kept.rule != Rule.SUBSCRIPTION_END
        assert [span.rule for span in spans if span.first <= one < span.before] == ([kept.rule] if goes else [])
