"""Acme in Berlin, with content that was changed, renamed, deleted and purged; and a neighbour's."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

import audit
from audit.models import JournalRow
from l2l.reports.periods import Days
from l2l.reports.trail import Change, Trail, trail_of
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def berlin(acting: Any, db: None) -> Any:
    return add_customer("acme", "Acme Bicycles", start=date(2026, 1, 1), zone="Europe/Berlin")


@pytest.fixture
def theirs(acting: Any, db: None) -> Any:
    other = add_customer("acme2", "Acme Two", start=date(2026, 1, 1))
    with audit.because("a secret of theirs"):
        DataRecord.objects.create(customer=other, kind="part", reference="THEIRS", data={"a": "THEIRS"})
    return other


def trail(customer: Any, first: date | None = None, last: date | None = None, **asked: Any) -> Trail:
    return trail_of(customer, Days(customer.zone, first, last), **{"by": None, "now": NOW} | asked)


def told(customer: Any, **asked: Any) -> list[Change]:
    return list(trail(customer, **asked).changes())


def written_at(customer: Any, *moments: datetime) -> None:
    """Puts the customer's changes, in their order, at these moments."""
    ids = JournalRow.objects.filter(stream=customer.pk).order_by("id").values_list("id", flat=True)
    for key, moment in zip(ids, moments, strict=True):
        JournalRow.objects.filter(pk=key).update(written_at=moment)


def shipped(customer: Any) -> None:
    """Gives the customer's changes numbers and digests, as the shipper does."""
    for number, row in enumerate(JournalRow.objects.filter(stream=customer.pk).order_by("id"), start=1):
        digests = {"salt": "5a" * 16, "leaf": f"{number:064x}", "digest": f"{number + 4096:064x}", "segment": 7}
        JournalRow.objects.filter(pk=row.pk).update(number=number, **digests)
