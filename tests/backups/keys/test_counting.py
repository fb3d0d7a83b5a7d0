"""How many keys wait for another wrapping, and which location lacks it, as the database tells it from the names of the keys (P4)."""

from __future__ import annotations

from typing import Any

import pytest

from audit.models import Stream
from backups.keys import retired, rewrapping
from backups.models import Blob, Copy, Location

NAMES = {"acme": ("1", "2", "2-2", "12-10"), "bolt": ("1-2",)}


@pytest.fixture
def streams(db: None) -> dict[str, Any]:
    """Keys by number and wrapping: of acme 1 in the first, 2 in the first two, 12 in the tenth; of bolt 1 in the second. The location
    `here` has all, `there` what is of the first wrapping alone."""
    here, there = (Location.objects.create(name=name, position=at, in_force=True) for at, name in enumerate(("here", "there")))
    found = {name: Stream.objects.create(name=name) for name in NAMES}
    for name, idents in NAMES.items():
        for ident in idents:
            blob = Blob.objects.create(
                stream=found[name], kind="key", state="stored", name=f"keys/{found[name].pk}/{ident}.age", sha256="0" * 64, size=9
            )
            Copy.objects.create(blob=blob, location=here, state="present")
            Copy.objects.create(blob=blob, location=there, state="owed" if "-" in ident else "present")
    return found


@pytest.mark.parametrize(
    ("wrapping", "waiting"),
    [(1, {}), (2, {"acme": [1]}), (3, {"acme": [1, 2], "bolt": [1]}), (11, {"acme": [1, 2, 12], "bolt": [1]})],
)
def test_a_key_waits_until_its_newest_wrapping_is_the_one_in_force(streams: Any, wrapping: int, waiting: dict[str, list[int]]) -> None:
    assert rewrapping.pending(wrapping) == {streams[name].pk: numbers for name, numbers in waiting.items()}
    assert rewrapping.count_pending(wrapping) == (sum(map(len, waiting.values())), len(waiting))
    assert rewrapping.pending(wrapping, streams["bolt"].pk).keys() == {streams[name].pk for name in waiting if name == "bolt"}


@pytest.mark.parametrize(("wrapping", "lacking"), [(1, {"there": 2}), (2, {"here": 1, "there": 4}), (11, {"here": 4, "there": 4})])
def test_a_location_lacks_what_it_has_in_no_such_wrapping(streams: Any, wrapping: int, lacking: dict[str, int]) -> None:
    assert retired.lacking(wrapping) == lacking


def test_nothing_is_said_of_a_location_that_is_not_in_force_nor_of_keys_that_are_not_stored(streams: Any) -> None:
    Location.objects.filter(name="there").update(in_force=False)
    Blob.objects.filter(name__endswith="/1.age").update(state="intended")
    assert retired.lacking(2) == {} and rewrapping.pending(2) == {}
