"""Whatever happens to a pass of retention, in the middle of whatever else: every set that is listed as complete restores (P4, P6)."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from backups import policies
from backups.choosing import opened
from backups.errors import NoSet
from backups.models import BackupSet, Blob
from backups.policy import Policy
from subscriptions.models import Customer
from subscriptions.onboarding import add_customer
from tests.backups.simulation import World
from tests.backups.test_simulation import assert_nothing_left

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]
DAY = timedelta(days=1)


@pytest.fixture
def world(acting: Any, key_folder: Path, tmp_path: Path, request: Any) -> World:
    """Two nights are kept, then one set a week for another: many sets go in a short life."""
    made = World(getattr(request, "param", 1), key_folder, tmp_path / "spool")
    policies._add(1, Policy(1, made.now - 100 * DAY, nightly_days=2, weekly_weeks=1), zone="UTC", made_by="test", reason="a test")
    return made


def night(world: World, customer: Customer, *, crash_at: int | None = None) -> None:
    world.change(customer)
    before = world.now
    world.back_up(customer, crash_at=crash_at)
    world.now = max(world.now, before + DAY)


def live_through(world: World, rounds: int) -> None:
    customer = add_customer(f"sim-{world.seed}", "Customer", start=date(2026, 1, 1))
    for _ in range(rounds):
        down = world.random.choice([None, None, None, *world.names])
        if down:
            world.stores[down].down = True
        night(world, customer, crash_at=world.random.choice([None, None, world.random.randint(1, 150)]))
        for _ in range(world.random.choice([1, 1, 2])):
            world.prune(crash_at=world.random.choice([None, world.random.randint(1, 120)]))
        if down:
            world.stores[down].down = False
        world.check(customer)
    for _ in range(3):
        night(world, customer)
        world.check(customer)
    done = world.prune()
    assert done is not None and not done.left and not done.waits, (world.seed, done)
    assert BackupSet.objects.filter(stream=customer.pk, state="removed").exists(), world.seed
    assert not BackupSet.objects.filter(state="leaving").exists() and not Blob.objects.filter(state="condemned").exists()
    assert world.check(customer) >= 4
    assert_nothing_left(world, customer)


@pytest.mark.parametrize("world", range(2), indirect=True)
def test_a_short_life(world: World) -> None:
    live_through(world, rounds=4)


def test_killed_at_every_step_the_next_pass_goes_on(world: World) -> None:
    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    for _ in range(5):
        night(world, customer)
    step, crashed = 1, 0
    while world.prune(crash_at=step) is None:
        crashed += 1
        world.check(customer)
        step += 1 if step < 12 else 7
        if not BackupSet.objects.filter(state__in=("made", "leaving"), goes_at__lt=world.now).exists():
            for _ in range(2):
                night(world, customer)
    assert crashed > 8
    world.prune()
    world.check(customer)
    assert BackupSet.objects.filter(state="removed").exists()
    assert_nothing_left(world, customer)


def test_a_restore_that_reads_what_is_due_ends_well(world: World) -> None:
    """The reader was first: the pass leaves its set alone, crashed or not, and takes it when it is done."""
    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    for _ in range(5):
        night(world, customer)
    oldest = BackupSet.objects.filter(stream=customer.pk, state="made").earliest("started_at")
    with opened(world.vault, customer.pk, set_id=str(oldest.pk)) as (_, reader):
        world.prune(crash_at=40)
        world.prune()
        lines = [line for part in reader.parts for line in reader.lines(part)]
        assert lines
    assert BackupSet.objects.get(pk=oldest.pk).state == "made"
    world.prune()
    assert BackupSet.objects.get(pk=oldest.pk).state == "removed"
    with pytest.raises(NoSet), opened(world.vault, customer.pk, set_id=str(oldest.pk)):
        pass


def test_a_backup_that_reuses_what_a_pass_has_condemned_stores_it_anew(world: World) -> None:
    """Killed after it condemned and before it removed: the next set takes nothing of that as present."""
    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    for _ in range(5):
        night(world, customer)
    for step in range(10, 200, 9):
        if world.prune(crash_at=step) is not None:
            break
        if Blob.objects.filter(state="condemned").exists():
            break
    world.back_up(customer)
    assert world.check(customer) >= 4
    named = BackupSet.objects.filter(stream=customer.pk, state="made").latest("started_at")
    assert named.protected_at is not None
