"""The customer's page: what is kept as squares, test restores, changes by day, and what can be done (P6 to P9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from audit.models import JournalRow
from backups.models import BackupSet, Location, Run, Slot, TestCell
from backups.policies import ensure_first_policy, zone_at
from backups.slots import night_of, week_of
from subscriptions.models import DataRecord
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def policy(db: None) -> None:
    ensure_first_policy()


def page(client: Client, one: Belongings) -> str:
    return " ".join(client.get(url("customer_overview", one.customer.pk)).content.decode().split())


def a_past(one: Belongings, nights: int) -> None:
    """So many nights with a set each, but for the second, which was missed; and a week that is decided."""
    now = datetime.now(UTC)
    newest = night_of(now, zone_at(now))
    for at in range(1, nights + 1):
        began = now - at * DAY
        missed = at == 2
        made = (
            None if missed else BackupSet.objects.create(stream_id=one.customer.pk, night=newest - at * DAY, started_at=began, state="made")
        )
        about = {"policy": 1, "due_at": began, "ends_at": began + DAY / 2, "next_try_at": began, "backup_set": made}
        Run.objects.create(stream_id=one.customer.pk, night=newest - at * DAY, state="missed" if missed else "done", **about)
    week = week_of(newest - 7 * DAY)
    about = {"first": week.first, "last": week.last, "policy": 1, "decided_at": now}
    Slot.objects.create(stream_id=one.customer.pk, key=week.key, state="filled", backup_set=one.backup_set, **about)


def test_the_newest_slots_are_squares_that_open_their_sets(as_: As, own: Belongings) -> None:
    a_past(own, 9)
    text = page(as_("ada"), own)
    assert "Nights: the last" in text and "<strong>1 missed</strong>" in text and "Weeks: the last" in text
    opened = BackupSet.objects.filter(stream=own.customer.pk, night__lt=own.backup_set.night).first()
    assert opened is not None and f'href="{url("backupset_change", opened.pk)}" title=' in text
    assert url("backupset_kept", own.customer.pk) in text


def test_each_tier_and_location_says_when_it_was_tested(as_: As, own: Belongings) -> None:
    now, place = datetime.now(UTC), Location.objects.get(name="primary")
    about = {"stream_id": own.customer.pk, "location": place, "since": now - 90 * DAY}
    TestCell.objects.create(tier="nightly", tested_at=datetime(2026, 5, 6, tzinfo=UTC), due_at=now + DAY, **about)
    TestCell.objects.create(tier="weekly", due_at=now - DAY, **about)
    text = page(as_("ada"), own)
    assert "Nightly at primary" in text and "passed 6 May 2026" in text
    assert "Weekly at primary" in text and "overdue" in text


def test_changes_are_bars_that_lead_into_the_timeline(as_: As, own: Belongings) -> None:
    assert "No change was shipped" in page(as_("ada"), own)
    for number, row in enumerate(JournalRow.objects.filter(stream=own.customer.pk).order_by("id"), 1):
        JournalRow.objects.filter(pk=row.pk).update(number=number, digest="0" * 64)
    text = page(as_("ada"), own)
    assert 'aria-label="3 changes of the last four weeks, by day"' in text
    assert f"{url('customer_timeline', own.customer.pk)}?in=" in text


def test_a_customer_with_much_takes_as_many_queries_as_one_with_little(as_: As, belongings: Any, people: dict[str, User]) -> None:
    def queries(one: Belongings) -> int:
        client = as_("ada")
        with CaptureQueriesContext(connection) as found:
            page(client, one)
        return len(found)

    little, much = belongings("acme", people["ada"]), belongings("bolt", people["ada"])
    a_past(little, 40)
    a_past(much, 80)
    with audit.acting("setup", reason="a test", source="test"):
        DataRecord.objects.tracked_create(DataRecord(customer=much.customer, kind="x", reference=str(number)) for number in range(30))
        much.customer.subscriptions.create(agreement_number="bolt-2", start=much.subscription.start)
    assert queries(much) == queries(little)
