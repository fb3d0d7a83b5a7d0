"""Whatever happens to a backup, nothing claims what is not there, and the next run finishes (design section 5)."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from backups.models import BackupSet, Blob, Copy
from backups.stores.memory import MemoryStore
from subscriptions.onboarding import add_customer
from tests.backups.simulation import Crash, World

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A crash inside Django's own code leaves its server-side cursor to the garbage collector, as a killed process would.
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def world(acting: Any, key_folder: Path, tmp_path: Path, request: Any) -> World:
    return World(getattr(request, "param", 1), key_folder, tmp_path / "spool")


def live_through(world: World, rounds: int) -> None:
    """Random changes, backups, crashes, damage and outages; every set is checked after each round."""
    customer = add_customer(f"sim-{world.seed}", "Customer", start=date(2026, 1, 1))
    world.change(customer)
    for _ in range(rounds):
        world.change(customer)
        down = world.random.choice([None, None, None, *world.names])
        if down:
            world.stores[down].down = True
        world.back_up(customer, crash_at=world.random.choice([None, world.random.randint(1, 150)]))
        if down:
            world.stores[down].down = False
        world.check(customer)
    world.change(customer)
    outcome = world.back_up(customer)
    assert outcome is not None and outcome.good, (world.seed, outcome)
    assert world.check(customer) >= 2
    assert_nothing_left(world, customer)


def assert_nothing_left(world: World, customer: Any) -> None:
    """No owed copies, no unfinished sets, no objects without a row, no rows without an object."""
    owed = Copy.objects.filter(blob__stream=customer.pk).exclude(state="present").values_list("location__name", "blob__name", "blob__state")
    assert list(owed) == [], (world.seed, getattr(world, "acts", ""))
    assert not BackupSet.objects.filter(state="making").exists()
    names = set(Blob.objects.filter(stream=customer.pk).exclude(kind="aside").values_list("name", flat=True))
    for store in world.stores.values():
        assert {name for name in store.objects if str(customer.pk) in name and "/damaged/" not in name} == names, world.seed


@pytest.mark.parametrize("world", range(3), indirect=True)
def test_a_short_life(world: World) -> None:
    live_through(world, rounds=3)


def test_a_crash_at_every_step(world: World) -> None:
    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    world.change(customer)
    with world.crashing(None) as steps:
        pass
    crash_at = 1
    while world.back_up(customer, crash_at=crash_at) is None:
        world.check(customer)
        crash_at += 3
    assert crash_at > 40, steps
    assert_nothing_left(world, customer)


def envelopes(store: MemoryStore) -> set[str]:
    return {name for name in store.objects if name.endswith(".json") and "/sets/" in name}


def test_what_is_swept_goes_from_the_envelope_down(world: World) -> None:
    """Else a process that is killed in the middle would leave an envelope that verifies, without its body."""
    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    world.change(customer)
    primary, offsite = world.stores["primary"], world.stores["offsite"]
    put, remove, gone = offsite.put, primary.remove, list[str]()

    def dying(name: str, data: bytes) -> None:
        if name in envelopes(primary):
            raise Crash(name)
        put(name, data)

    def noting(name: str) -> None:
        gone.append(name)
        remove(name)

    offsite.put = dying  # type: ignore[method-assign]
    assert world.back_up(customer) is None and envelopes(primary) and not envelopes(offsite)
    offsite.put = put  # type: ignore[method-assign]
    world.change(customer)
    primary.down = True
    assert world.back_up(customer) is not None  # it gives up the set that only the other place could show to be whole
    primary.down = False
    given_up = envelopes(primary)
    primary.remove = noting  # type: ignore[method-assign]
    world.change(customer)
    assert world.back_up(customer) is not None
    kinds = ["envelope" if name in given_up else "body" if "/sets/" in name else "blob" for name in gone]
    assert kinds == sorted(kinds, key=["envelope", "body", "blob"].index) and kinds.count("envelope") == 1
    assert_nothing_left(world, customer)


def test_a_damaged_blob_is_put_back_when_its_check_is_due(world: World) -> None:
    from datetime import timedelta

    customer = add_customer("acme", "Acme", start=date(2026, 1, 1))
    world.change(customer)
    world.back_up(customer)
    damaged = world.damage()
    world.now += timedelta(days=31)
    outcome = world.back_up(customer)
    assert outcome is not None and outcome.good
    assert any("is damaged" in note for note in outcome.notes), (damaged, outcome.notes)
    world.check(customer)
