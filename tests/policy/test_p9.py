"""Data is kept for the subscription or 20 years, whichever is first, or for the term that was agreed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from audit.promises import Standing
from backups.purge import looks
from subscriptions import past_term, term_requests, terms
from subscriptions.models import DataRecord
from subscriptions.terms import Rule
from tests.past import at
from tests.policy.promise import promise
from tests.policy.service import Service

pytestmark = [pytest.mark.django_db(transaction=True), promise("P9")]


@pytest.fixture
def old(today: Any, service: Service, acme: Any, people: Any, settings: Any) -> Any:
    """Acme, with two records of 2015."""
    acme.account_manager = people["ada"]
    acme.save()
    with at(settings, "2015-06-01T12:00:00+00:00"):
        for number in range(2):
            DataRecord.objects.create(customer=acme, kind="part", reference=f"old-{number}", data={})
    return acme


def test_every_item_has_a_date_and_a_reason(old: Any) -> None:
    agreed = past_term.terms_of(old.pk)
    found = terms.kept_until(agreed, last_changed=date(2015, 6, 1))
    assert (found.until, found.rule) == (date(2035, 6, 1), Rule.TWENTY_YEARS) and found.reason
    ended = [replace(one, end=date(2030, 12, 31)) for one in agreed]
    assert terms.kept_until(ended, last_changed=date(2015, 6, 1)).until == date(2030, 12, 31)
    sooner = [replace(one, agreed_retention_years=7) for one in agreed]
    assert terms.kept_until(sooner, last_changed=date(2015, 6, 1)).until == date(2022, 6, 1)
    held = terms.kept_until(agreed, last_changed=date(2015, 6, 1), on_hold=True)
    assert held.until is None and held.reason


def test_an_item_beyond_its_agreed_term_turns_it_red_until_it_may_stay(old: Any, service: Service, people: Any) -> None:
    looks.look_at_all(service.clock())
    assert service.measured()["P9"] is Standing.KEPT
    subscription = old.subscriptions.get()
    subscription.agreed_retention_years = 5
    subscription.save_terms()
    looks.look_at(old, service.clock())
    assert service.broken() == {"P9"}
    assert service.state("terms").value == 2 and service.state("terms").figure == "2 items past an agreed term, of 1 customer"
    assert service.findings() == ["control:terms"]
    term_requests.change_at_once(
        old.subscriptions.get(), by=people["ada"], why="agreed anew", now=datetime.now(UTC), agreed_retention_years=30
    )
    looks.look_at(old, service.clock())
    assert service.broken() == set()
