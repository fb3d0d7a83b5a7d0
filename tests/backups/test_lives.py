"""Whatever happens in a customer's life, at whatever step a process dies: what is listed as complete restores, and so does every second
that is said to be covered (P2, P4, P6, P14)."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from backups import policies
from backups.coverage import covered
from backups.policy import Policy
from subscriptions.onboarding import add_customer
from tests.backups.lives import Life

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A crash inside Django's own code leaves its server-side cursor to the garbage collector, as a killed process would.
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
DAY = timedelta(days=1)


@pytest.fixture
def life(acting: Any, key_folder: Path, tmp_path: Path, request: Any) -> Life:
    """Two nights are kept, then one set a week for another: many sets go in a short life."""
    made = Life(getattr(request, "param", 1), key_folder, tmp_path / "spool")
    policies._add(1, Policy(1, made.now - 100 * DAY, nightly_days=2, weekly_weeks=1), zone="UTC", made_by="test", reason="a test")
    return made


def live_through(life: Life, acts: int) -> None:
    customer = add_customer(f"life-{life.seed}", "Customer", start=date(2026, 1, 1))
    life.change(customer)
    for _ in range(acts):
        down = life.random.choice([None, None, None, None, *life.names])
        if down:
            life.stores[down].down = True
        act(life, customer)
        if down:
            life.stores[down].down = False
        if life.random.random() < 0.3:
            life.check(customer)
            life.check_seconds(customer)
    end_well(life, customer)


def act(life: Life, customer: Any) -> None:
    crash_at = life.random.choice([None, None, life.random.randint(1, 120)])
    match life.random.choice(["change", "back up", "back up", "ship", "ship", "prune", "remove segments"]):
        case "change":
            life.change(customer)
        case "back up":
            life.change(customer)
            before = life.now
            life.acts.append(f"back up {crash_at or ''}")
            life.back_up(customer, crash_at=crash_at)
            life.now = max(life.now, before + DAY)
        case "ship":
            life.change(customer)
            life.ship(crash_at=crash_at)
        case "prune":
            life.acts.append(f"prune {crash_at or ''}")
            life.prune(crash_at=crash_at)
        case "remove segments":
            life.remove_segments(crash_at=crash_at)


def end_well(life: Life, customer: Any) -> None:
    """Left alone, everything comes to rest: shipped, whole everywhere, and each second up to the last change can be had."""
    life.ship()
    outcome = life.back_up(customer)
    assert outcome is not None and outcome.backup_set.protected_at is not None, (life.seed, outcome, life.acts)
    life.change(customer)
    life.ship()
    assert life.check(customer) >= 2
    until = covered(life.vault, customer.pk).until
    assert until is not None and life.newest is not None and until > life.newest, (life.seed, life.acts)
    assert life.check_seconds(customer) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("life", range(400, 440), indirect=True)
def test_a_longer_life(life: Life) -> None:
    live_through(life, 12)


@pytest.mark.parametrize("life", range(3), indirect=True)
def test_a_short_life(life: Life) -> None:
    live_through(life, 6)
