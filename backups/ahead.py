"""Reading ahead (pure): what takes long to come is fetched by a thread of its own while the caller works on what came."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Generator[T, None, None], how_many: int) -> Iterator[T]:
    """The same items in the same order, up to `how_many` of them fetched before they are asked for. What fetching raises is raised here;
    whoever stops early closes `items`."""
    end = object()
    reader = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        coming = deque(reader.submit(next, items, end) for _ in range(how_many))
        while (item := coming.popleft().result()) is not end:
            coming.append(reader.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        items.close()
