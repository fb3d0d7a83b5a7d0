"""Reading ahead (pure): what takes long to come is fetched by a thread of its own while the caller works on what came."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
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
