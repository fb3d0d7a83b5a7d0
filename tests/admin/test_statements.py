"""The front page and the lists that grow with the customers make as many statements for thirty rows as for two."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from backups.models import Location, RetentionLook, TestCell, TestTier
from backups.policies import ensure_first_policy
from l2l.admin.site import PAGES
from tests.admin.conftest import Belongings
from tests.admin.test_matrix import _a_finding, _a_test

# Lists without rows of customers: they are as long as the service has policies, roles or schedules.
OF_THE_SERVICE = ("django_q_", "auth_group", "backuppolicy", "keyringversion", "escrowdrill", "schemaversion", "policychange", "keychange")


def counted(client: Client, person: User) -> dict[str, int]:
    """How many statements each page of the navigation makes, but for those of the service."""
    found = {}
    for _, pages in PAGES:
        for title, _, name, right in pages:
            if name.removeprefix("l2l_backups_").removeprefix("l2l_audit_").startswith(OF_THE_SERVICE) or (
                right and not person.has_perm(right)
            ):
                continue
            with CaptureQueriesContext(connection) as captured:
                assert client.get(reverse(f"admin:{name}")).status_code == 200, name
            found[title] = len(captured)
    return found


@pytest.fixture
def grown(belongings: Callable[..., Belongings], people: dict[str, User], acting: Any) -> Callable[[range], None]:
    """Makes customers of those numbers, each with a row of each kind, looked after by ada."""

    def grow(numbers: range) -> None:
        now = datetime.now(UTC)
        for number in numbers:
            one = belongings(f"customer-{number}", people["ada"])
            _a_finding(one)
            _a_test(one)
            RetentionLook.objects.create(stream_id=one.customer.pk, look_at=now, policy=1, years=20)
            place = Location.objects.get(name="primary")
            for tier in TestTier:
                due = now + timedelta(days=number + 1)
                TestCell.objects.create(stream_id=one.customer.pk, tier=tier, location=place, since=now, due_at=due)

    return grow


@pytest.mark.parametrize("name", ["otto", "ada"])
def test_more_rows_make_no_more_statements(
    name: str, grown: Callable[[range], None], as_: Callable[[str], Client], people: dict[str, User]
) -> None:
    ensure_first_policy()
    grown(range(2))
    client = as_(name)
    few = counted(client, people[name])  # with what a process asks once
    grown(range(2, 30))
    many = counted(client, people[name])
    assert {title: (few[title], many[title]) for title in many if many[title] > few[title]} == {}
    assert {"Overview", "Customers", "Data records"} <= many.keys() and (name == "ada" or {"Copies", "Evidence"} <= many.keys())
