"""Reading ahead changes neither the items nor their order, and leaves no thread and no open generator behind."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from backups.ahead import ahead


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
