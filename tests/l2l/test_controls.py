"""The controls of all apps together: each measures an empty installation as kept, none grows with the customers, each has its page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import controls
from audit.controls import measuring
from audit.promises import PROMISES, Standing
from backups.policies import ensure_first_policy
from l2l import tasks
from subscriptions.onboarding import add_customer

pytestmark = pytest.mark.django_db


def test_every_promise_has_a_control_and_each_control_a_page() -> None:
    assert {control.promise for control in controls.all_controls()} == PROMISES.keys()
    assert all(reverse(control.evidence) for control in controls.all_controls())
    assert all(control.title and control.threshold for control in controls.all_controls())


def test_the_manual_has_every_threshold() -> None:
    manual = (settings.BASE_DIR / "docs" / "operations.md").read_text()
    assert all(f"| {one.promise} | {one.title} | {one.threshold} |" in manual for one in controls.all_controls())


@pytest.mark.parametrize("name", [control.name for control in controls.all_controls()])
def test_an_empty_installation_breaks_no_promise(name: str, acting: Any) -> None:
    ensure_first_policy()
    control = controls.by_name(name)
    assert control is not None
    measured = control.measure(datetime.now(UTC))
    assert measured.state is Standing.KEPT and measured.figure and not measured.why and not measured.todo


def test_no_measurement_asks_more_for_more_customers(acting: Any) -> None:
    """The same statements for one customer and for ten."""
    ensure_first_policy()

    def statements(name: str) -> int:
        control = controls.by_name(name)
        assert control is not None
        with CaptureQueriesContext(
            connection,
        ) as captured:
            control.measure(datetime.now(UTC) + timedelta(days=2))
        return len(captured)

    def all_statements() -> dict[str, int]:
        return {control.name: statements(control.name) for control in controls.all_controls()}

    add_customer("customer-0", "First", start=date(2026, 1, 1))
    one = all_statements()
    for number in range(1, 10):
        add_customer(f"customer-{number}", "Another", start=date(2026, 1, 1))
    assert all_statements() == one


def test_the_worker_measures_every_minute() -> None:
    ensure_first_policy()
    tasks.measure()
    assert all(state is not None and not state.trouble for _, state in measuring.states())
