"""The loss window, from rows that say what was shipped when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import transaction

from backups.hot import loss_window
from backups.hot.durations import counted
from backups.models import Location, LossHour

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 14, 59, 59, 999999, tzinfo=UTC)


@pytest.fixture
def offsite() -> Location:
    return Location.objects.create(name="offsite", url="file:///o", offsite=True, position=1)


def note(location: Location, durations: list[float], at: datetime) -> None:
    with transaction.atomic():
        loss_window.note(location, durations, at)


def test_each_change_is_counted_in_the_hour_in_which_it_became_durable(offsite: Location) -> None:
    primary = Location.objects.create(name="primary", url="file:///p")
    note(offsite, [0.1, 7.0], AT)
    note(offsite, [0.2], AT - timedelta(minutes=59))
    note(offsite, [0.3], AT + timedelta(microseconds=1))
    note(primary, [0.4], AT.astimezone(timezone(timedelta(hours=5, minutes=30))))
    found = {(hour.location.name, hour.hour.hour): hour for hour in LossHour.objects.select_related("location")}
    assert {key: tuple(hour.buckets) for key, hour in found.items()} == {
        ("offsite", 14): counted([0.1, 7.0, 0.2]).buckets,
        ("offsite", 15): counted([0.3]).buckets,
        ("primary", 14): counted([0.4]).buckets,
    }
    assert (found["offsite", 14].changes, found["offsite", 14].longest) == (3, 7.0)


def test_nothing_durable_makes_no_row(offsite: Location) -> None:
    note(offsite, [], AT)
    assert not LossHour.objects.exists()
