"""Seeded lives of one customer: backups, shipping, retention, verification with mending, and test restores in any order, killed at any
step, with harm and outages at one location (P2, P4, P6, P7, P14).

Every set that is listed as complete restores as it was when it was made, every second that is said to be covered restores, and left alone
everything becomes whole everywhere. A seed that fails is run alone by `-k "[seed]"`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from audit import findings
from backups import policies
from backups.coverage import covered
from backups.models import BackupSet, Blob, Damage, TestRestore, UnknownObject
from backups.policy import Policy
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer
from tests.backups.lives import Life
from tests.backups.test_simulation import assert_nothing_left

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A crash inside Django's own code leaves its server-side cursor to the garbage collector, as a killed process would.
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
LIVES = range(450) if connection.vendor == "sqlite" else range(450, 500)
DAY = timedelta(days=1)
TURNS = 6


@pytest.fixture
def life(acting: Any, key_folder: Path, tmp_path: Path, request: Any) -> Life:
    """Two nights are kept, then one set a week for another: many sets go in a short life."""
    made = Life(request.param, key_folder, tmp_path / "spool")
    policies._add(1, Policy(1, made.now - 100 * DAY, nightly_days=2, weekly_weeks=1), zone="UTC", made_by="test", reason="a test")
    return made


def night(life: Life, customer: Customer, crash_at: int | None = None) -> None:
    life.change(customer)
    before = life.now
    life.acts.append(f"back up {crash_at or ''}")
    life.back_up(customer, crash_at=crash_at)
    life.now = max(life.now, before + DAY)


def ship(life: Life, customer: Customer, crash_at: int | None) -> None:
    life.change(customer)
    life.ship(crash_at=crash_at)


def harm(life: Life, customer: Customer, crash_at: int | None) -> None:
    """One thing at a time: a location that is harmed is mended before the other one is."""
    if not life.harmed:
        life.acts.append("harm")
        life.harm()


def prune(life: Life, customer: Customer, crash_at: int | None) -> None:
    life.acts.append(f"prune {crash_at or ''}")
    life.prune(crash_at=crash_at)


def remove_segments(life: Life, customer: Customer, crash_at: int | None) -> None:
    life.remove_segments(crash_at=crash_at)


def verify(life: Life, customer: Customer, crash_at: int | None) -> None:
    life.acts.append(f"verify {crash_at or ''}")
    life.verify(crash_at=crash_at)


def test_restore(life: Life, customer: Customer, crash_at: int | None) -> None:
    life.test_restore(customer, crash_at=crash_at)


test_restore.__test__ = False  # type: ignore[attr-defined]
TURN: tuple[Callable[[Life, Customer, int | None], None], ...] = (
    night,
    night,
    ship,
    ship,
    prune,
    remove_segments,
    verify,
    test_restore,
    harm,
)


def live_through(life: Life) -> None:
    customer = add_customer(f"life-{life.seed}", "Customer", start=date(2026, 1, 1))
    night(life, customer)
    for _ in range(TURNS):
        down = life.random.choice([None, None, None, None, *life.names])
        turn = life.random.choice(TURN)
        crash_at = life.random.choice([None, life.random.randint(1, 150)])
        if down:
            life.stores[down].down = True
        if not (down and (turn is harm or life.harmed)):  # what one location lost, the other one must be there to give
            turn(life, customer, crash_at)
        if down:
            life.stores[down].down = False
    life.check(customer)
    life.check_seconds(customer)
    end_well(life, customer)


def end_well(life: Life, customer: Customer) -> None:
    """Left alone, everything comes to rest: shipped, whole everywhere, verified, tested, and each second up to the last change is there."""
    life.verify()  # a location without its format file is used again
    life.ship()  # gives up what a shipper before it left half done, which the next backup settles
    night(life, customer)
    life.ship()
    life.prune()
    turns = life.verify()
    strange = [str(one) for one in UnknownObject.objects.all()]
    assert turns is not None and all(turn.good for turn in turns), (life.seed, strange, turns, life.acts)
    life.wrong = None  # should it be harmed still, nothing needs it any more
    life.test_restore(customer)
    assert TestRestore.objects.filter(result=TestRestore.Result.PASSED).exists(), (life.seed, life.acts)
    life.close_findings()
    assert not Damage.objects.open().exists() and not findings.open_findings().exists(), (life.seed, life.acts)
    assert not BackupSet.objects.filter(state__in=("leaving", "making")).exists() and not Blob.objects.filter(state="condemned").exists()
    assert not BackupSet.objects.filter(damaged_at__isnull=False).exists(), life.seed
    assert life.check(customer) >= 2, life.seed
    until = covered(life.vault, customer.pk).until
    assert until is not None and life.newest is not None and until > life.newest, (life.seed, until, life.newest, life.acts)
    assert life.check_seconds(customer) >= 3, (life.seed, life.acts)
    assert_nothing_left(life, customer)


@pytest.mark.slow
@pytest.mark.parametrize("life", LIVES, indirect=True)
def test_a_life(life: Life) -> None:
    live_through(life)


@pytest.mark.parametrize("life", [1001, 1002], indirect=True)
def test_a_life_among_the_quick_tests(life: Life) -> None:
    live_through(life)
