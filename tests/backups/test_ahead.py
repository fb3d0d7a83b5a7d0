"""Reading ahead changes neither the items nor their order, and leaves no thread and no open generator behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from backups.ahead import ahead, alternately


def counting(to: int, closed: list[int], broken_at: int | None = None) -> Generator[int, None, None]:
    try:
        for number in range(to):
            if number == broken_at:
                raise ValueError("broken")
            yield number
    finally:
        closed.append(1)


@pytest.mark.parametrize("to", [0, 1, 3, 4, 100])
@pytest.mark.parametrize("how_many", [1, 4])
def test_all_items_come_in_their_order(to: int, how_many: int) -> None:
    closed: list[int] = []
    assert list(ahead(counting(to, closed), how_many)) == list(range(to))
    assert closed == [1]


def test_what_breaks_the_reading_reaches_the_caller_after_what_was_read_before() -> None:
    closed: list[int] = []
    found = []
    with pytest.raises(ValueError, match="broken"):
        for number in ahead(counting(9, closed, broken_at=5), 3):
            found.append(number)
    assert (found, closed) == ([0, 1, 2, 3, 4], [1])


def test_a_caller_who_stops_early_leaves_no_thread_behind() -> None:
    closed: list[int] = []
    before = threading.active_count()
    items = ahead(counting(1000, closed), 3)
    assert next(items) == 0
    items.close()  # type: ignore[attr-defined]
    assert (closed, threading.active_count()) == ([1], before)


def in_turns(blocks: list[list[int]], closed: list[int], broken_at: int | None = None) -> Generator[int | None, None, None]:
    try:
        for block in blocks:
            for number in block:
                if number == broken_at:
                    raise ValueError("broken")
                yield number
            yield None
    finally:
        closed.append(1)


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("how_many", [1, 2, 7])
@pytest.mark.parametrize("lengths", [[], [1], [0, 3], [4, 1, 0, 0, 5, 2, 9], [3, 3, 3, 3]])
def test_blocks_that_lanes_take_turns_with_come_in_their_order(lanes: int, how_many: int, lengths: list[int]) -> None:
    closed: list[int] = []
    blocks = [[100 * number + at for at in range(length)] for number, length in enumerate(lengths)]
    turns = [in_turns(blocks[at::lanes], closed) for at in range(lanes)]
    assert list(alternately(turns, how_many)) == [item for block in blocks for item in block]
    assert len(closed) == lanes
    assert nobody_reads()


def test_what_breaks_one_lane_reaches_the_caller_after_what_came_before_it() -> None:
    closed: list[int] = []
    found = []
    with pytest.raises(ValueError, match="broken"):
        for number in alternately([in_turns([[1, 2], [5, 6]], closed), in_turns([[3, 4], [7, 8]], closed, broken_at=4)], 5):
            found.append(number)
    assert (found, closed) == ([1, 2, 3], [1, 1])
    assert nobody_reads()


def test_who_leaves_the_lanes_early_leaves_no_thread_behind() -> None:
    closed: list[int] = []
    begun = alternately([in_turns([list(range(100))], closed), in_turns([list(range(100))], closed)], 4)
    assert next(begun) == 0
    begun.close()  # type: ignore[attr-defined]
    assert closed == [1, 1]
    assert nobody_reads()


def nobody_reads() -> bool:
    return not any(thread.name.startswith("ahead") for thread in threading.enumerate())
