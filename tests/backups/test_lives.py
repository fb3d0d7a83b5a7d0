"""Seeded lives of one customer: backups, pruning, verification and mending in any order, killed at any step, with harm and outages at one
location. Every set that is listed as complete restores to what was remembered; at the end everything is whole everywhere (P4, P6).

A seed that fails is run alone by `-k "[seed]"`.
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
from backups.models import BackupSet, Blob, Damage
from backups.policy import Policy
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer
from tests.backups.simulation import World
from tests.backups.test_simulation import assert_nothing_left

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
LIVES = range(250) if connection.vendor == "sqlite" else range(250, 500)
DAY = timedelta(days=1)
TURNS = 6


@pytest.fixture
def world(acting: Any, key_folder: Path, tmp_path: Path, request: Any) -> World:
    """Two nights are kept, then one set a week for another: many sets go in a short life."""
    made = World(request.param, key_folder, tmp_path / "spool")
    policies._add(1, Policy(1, made.now - 100 * DAY, nightly_days=2, weekly_weeks=1), zone="UTC", made_by="test", reason="a test")
    return made


def night(world: World, customer: Customer, crash_at: int | None = None) -> None:
    world.change(customer)
    before = world.now
    world.back_up(customer, crash_at=crash_at)
    world.now = max(world.now, before + DAY)


def harm(world: World, customer: Customer, crash_at: int | None) -> None:
    """One thing at a time: a location that is harmed is mended before the other one is."""
    if not world.harmed:
        world.harm()


def prune(world: World, customer: Customer, crash_at: int | None) -> None:
    world.prune(crash_at=crash_at)


def verify(world: World, customer: Customer, crash_at: int | None) -> None:
    world.verify(crash_at=crash_at)


TURN: tuple[Callable[[World, Customer, int | None], None], ...] = (night, night, prune, verify, harm)


def live_through(world: World) -> None:
    customer = add_customer(f"sim-{world.seed}", "Customer", start=date(2026, 1, 1))
    night(world, customer)
    for _ in range(TURNS):
        down = world.random.choice([None, None, None, None, *world.names])
        turn = world.random.choice(TURN)
        crash_at = world.random.choice([None, world.random.randint(1, 150)])
        if down:
            world.stores[down].down = True
        if not (down and (turn is harm or world.harmed)):  # what one location lost, the other one must be there to give
            turn(world, customer, crash_at)
        if down:
            world.stores[down].down = False
    world.check(customer)
    world.verify()  # a location without its format file is used again
    night(world, customer)
    world.prune()
    turns = world.verify()
    assert turns is not None and all(turn.good for turn in turns), (world.seed, turns)
    assert not Damage.objects.open().exists() and not findings.open_findings().exists(), world.seed
    assert not BackupSet.objects.filter(state__in=("leaving", "making")).exists() and not Blob.objects.filter(state="condemned").exists()
    assert not BackupSet.objects.filter(damaged_at__isnull=False).exists(), world.seed
    assert world.check(customer) >= 2, world.seed
    assert_nothing_left(world, customer)


@pytest.mark.slow
@pytest.mark.parametrize("world", LIVES, indirect=True)
def test_a_life(world: World) -> None:
    live_through(world)
