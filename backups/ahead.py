"""Reading ahead (pure): what takes long to come is fetched by a thread of its own while the caller works on what came."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from typing import Any, TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None], how_many: int) -> Iterator[T]:
    """The same items in the same order, up to `how_many` of them fetched before they are asked for. What fetching raises is raised here;
    whoever stops early closes `items`. A single item, as a small customer's part is, takes no thread."""
    end: Any = object()
    reader: ThreadPoolExecutor | None = None
    try:
        first, second = next(items, end), next(items, end)
        if second is not end:
            reader = ThreadPoolExecutor(1, thread_name_prefix="ahead")
            coming = deque(reader.submit(next, items, end) for _ in range(how_many))
            yield from (first, second)
            while (item := coming.popleft().result()) is not end:
                coming.append(reader.submit(next, items, end))
                yield item
        elif first is not end:
            yield first
    finally:
        if reader is not None:
            reader.shutdown(wait=True, cancel_futures=True)
        items.close()


def alternately(lanes: Sequence[Generator[T | None, None, None]], how_many: int) -> Iterator[T]:
    """The items of the first lane up to a None, then those of the second up to its own, and so on in turn until a lane whose turn it is has
    ended. Each is fetched by a thread of its own, up to `how_many` ahead; errors and stopping early as in `ahead`."""
    end: Any = object()
    readers = [ThreadPoolExecutor(1, thread_name_prefix="ahead") for _ in lanes]
    try:
        coming = [deque(reader.submit(next, lane, end) for _ in range(how_many)) for reader, lane in zip(readers, lanes, strict=True)]
        for at in cycle(range(len(lanes))):
            while (item := coming[at].popleft().result()) is not None:
                if item is end:
                    return
                coming[at].append(readers[at].submit(next, lanes[at], end))
                yield item
            coming[at].append(readers[at].submit(next, lanes[at], end))
    finally:
        for reader in readers:
            reader.shutdown(wait=False, cancel_futures=True)
        for reader, lane in zip(readers, lanes, strict=True):
            reader.shutdown(wait=True)
            lane.close()
