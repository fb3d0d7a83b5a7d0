"""The debt as a picture: customers down, tiers x locations across, each cell by how its last test went and how near its day is (P7)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from audit.moments import in_utc
from backups.models import TestCell

SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Mark:
    """One cell as it is shown: `kind` is its colour, `text` what stands in it, `title` all of it in words, `test` the test it opens."""

    kind: str
    text: str
    title: str
    test: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One stream; a mark for each column, None where there is no set of that tier at that location. `late` of them are overdue."""

    stream: uuid.UUID
    name: str
    marks: tuple[Mark | None, ...]
    late: int


def rows(
    streams: Sequence[tuple[uuid.UUID, str]], cells: Iterable[TestCell], columns: Sequence[tuple[str, int]], now: datetime
) -> list[Row]:
    """The rows of these streams, in their order; `columns` are (tier, location's id)."""
    found = {(cell.stream_id, cell.tier, cell.location_id): cell for cell in cells}
    made = []
    for stream, name in streams:
        here = [found.get((stream, tier, location)) for tier, location in columns]
        late = sum(cell is not None and cell.due_at < now for cell in here)
        made.append(Row(stream, name, tuple(mark_of(cell, now) if cell else None for cell in here), late))
    return made


def mark_of(cell: TestCell, now: datetime) -> Mark:
    """Red for what failed or is late, yellow for what is due soon or was never tested, green for what passed."""
    passed = f"last passed {in_utc(cell.tested_at)}" if cell.tested_at else "never tested"
    title = f"{passed}; due {in_utc(cell.due_at)}" + (f". {cell.trouble}" if cell.trouble else "")
    if cell.failed:
        return Mark("bad", "failed", title, cell.last_test_id)
    if cell.due_at < now:
        return Mark("bad", f"{_days(now - cell.due_at)} late", title, cell.last_test_id)
    if cell.tested_at is None:
        return Mark("warn" if cell.due_at < now + SOON else "none", "not yet", title)
    since = now - cell.tested_at
    when = f"{_days(since)} ago" if since.days > 0 else "today"
    return Mark("warn" if cell.due_at < now + SOON else "good", when, title, cell.last_test_id)


def _days(time: timedelta) -> str:
    return f"{max(time.days, 0)} d"
