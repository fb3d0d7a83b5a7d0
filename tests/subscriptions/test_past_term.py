"""Content past its term is found from history, by model, rule and how far ahead (P9)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from subscriptions import holds, past_term
from subscriptions.models import DataRecord, Link
from subscriptions.past_term import Overdue
from subscriptions.terms import Rule
from tests.past import at

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def record(customer: Any, reference: str) -> DataRecord:
    return DataRecord.objects.create(customer=customer, kind="part", reference=reference)


@pytest.fixture
def aged(acme: Any, acme2: Any, settings: Any) -> Any:
    """Acme, with an agreed term of 10 years and one item for each horizon; its neighbour with an old one too."""
    subscription = acme.subscriptions.get()
    subscription.agreed_retention_years = 10
    subscription.save_terms()
    for reference, day in (
        ("past", "2016-03-09"),
        ("last day", "2016-03-10"),
        ("in 30 days", "2016-04-08"),
        ("in 90 days", "2016-06-07"),
        ("in a year", "2017-03-09"),
        ("later", "2017-03-10"),
    ):
        with at(settings, f"{day}T12:00:00+00:00"):
            record(acme, reference)
    with at(settings, "2001-01-01T00:00:00+00:00"):
        record(acme2, "foreign")
    return acme


def listed(customer: Any, now: datetime = NOW) -> list[tuple[str, Rule, tuple[int, ...]]]:
    return [(one.protected.label, one.rule, one.by) for one in past_term.listed(customer, now)]


@pytest.mark.django_db
def test_by_horizon(aged: Any, acme2: Any) -> None:
    assert listed(aged) == [("l2l_subscriptions.datarecord", Rule.AGREED_TERM, (1, 3, 4, 5))]
    assert listed(acme2) == [("l2l_subscriptions.datarecord", Rule.TWENTY_YEARS, (1, 1, 1, 1))]


@pytest.mark.django_db
def test_when_the_first_one_goes(aged: Any, acme2: Any) -> None:
    today = NOW.date()
    assert past_term.first_to_go(aged, today, Rule.AGREED_TERM) == date(2026, 3, 10)
    assert past_term.first_to_go(aged, today, Rule.TWENTY_YEARS) is None
    assert past_term.first_to_go(acme2, today, Rule.TWENTY_YEARS) == date(2021, 1, 2)
    DataRecord.objects.filter(reference__in=("past", "last day")).tracked_delete()
    assert past_term.first_to_go(aged, today, Rule.AGREED_TERM) is None
    assert past_term.first_to_go(aged, today + timedelta(days=90), Rule.AGREED_TERM) == date(2026, 4, 9)


@pytest.mark.django_db
def test_a_change_begins_the_term_anew_and_a_deletion_is_one(aged: Any, settings: Any) -> None:
    with at(settings, "2016-03-09T13:00:00+00:00"):
        record(aged, "deleted").delete()
    row = DataRecord.objects.get(reference="past")
    row.data = {"n": 1}
    row.save()
    assert [one.by for one in past_term.listed(aged, NOW)] == [(1, 3, 4, 5)]
    found = past_term.examples(aged, _records(aged), past_term.spans_on(aged, NOW.date()), 5)
    assert [(one.reference, one.kept.until) for one in found] == [("deleted", date(2026, 3, 9))]


def _records(customer: Any) -> Any:
    (found,) = [one.protected for one in past_term.listed(customer, NOW)]
    return found


@pytest.mark.django_db
def test_the_day_is_the_customers_own(aged: Any) -> None:
    late = NOW.replace(hour=23, minute=30)
    assert listed(aged, late)[0][2][0] == 1
    aged.zone = "Asia/Tokyo"  # there the 11th has begun
    aged.save()
    assert listed(aged, late)[0][2][0] == 2


@pytest.mark.django_db
def test_overdue_is_what_an_agreement_let_go_a_day_ago(aged: Any, acme2: Any, django_user_model: Any) -> None:
    assert past_term.overdue(aged, NOW) is None  # it goes today
    assert past_term.overdue(aged, NOW + timedelta(days=1)) == Overdue(1, date(2026, 3, 10))
    assert past_term.overdue(acme2, NOW) is None  # the standard term waits for a decision
    ada = django_user_model.objects.create_superuser("ada")
    holds.place(aged, holder="a court", basis="1 O 1/26", review_on=date(2027, 1, 1), by=ada, now=NOW)
    assert past_term.overdue(aged, NOW + timedelta(days=1)) is None


@pytest.mark.django_db
def test_nothing_is_listed_for_a_young_customer(acme: Any) -> None:
    record(acme, "new")
    Link.objects.create(customer=acme, reference="a", url="https://example.org")
    assert past_term.listed(acme, datetime.now(UTC)) == []
    assert past_term.overdue(acme, datetime.now(UTC)) is None
