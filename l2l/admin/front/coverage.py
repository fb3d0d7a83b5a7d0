"""What was tested, and what is owed a test: each tier at each location (P7). One query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from backups.models import TestTier
from backups.test_restores import coverage
from subscriptions.admin import of_visible_customers


@dataclass(frozen=True, slots=True)
class Cell:
    """One tier at one location: `owed` tests there are, `tested` of them passed within their time, `late` are overdue or failed."""

    tier: str
    location: str
    owed: int = 0
    tested: int = 0
    late: int = 0

    @property
    def percent(self) -> int:
        """Never a hundred while one is not tested."""
        return self.tested * 100 // self.owed if self.owed else 0

    @property
    def kind(self) -> str:
        if self.late:
            return "bad"
        return "good" if self.owed and self.tested == self.owed else "warn" if self.owed else ""


@dataclass(frozen=True, slots=True)
class Grid:
    locations: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def late(self) -> int:
        return sum(cell.late for _, cells in self.rows for cell in cells)

    @property
    def owed(self) -> int:
        return sum(cell.owed for _, cells in self.rows for cell in cells)

    @property
    def tested(self) -> int:
        return sum(cell.tested for _, cells in self.rows for cell in cells)


def grid(user: Any, now: datetime) -> Grid | None:
    """Of the customers that the person may see; None for who may not see tests."""
    if not user.has_perm("l2l_backups.view_testcell"):
        return None
    late = Q(due_at__lt=now) | Q(failed=True)
    cells = of_visible_customers(user, coverage.owed(), "stream").order_by()
    counted = cells.values_list("tier", "location__name", "location__position").annotate(
        owed=Count("pk"), tested=Count("pk", filter=Q(tested_at__isnull=False) & ~late), late=Count("pk", filter=late)
    )
    found = {(tier, name): (position, Cell(tier, name, *counts)) for tier, name, position, *counts in counted}
    names = [name for _, name in sorted({(position, name) for (_, name), (position, _) in found.items()})]
    rows = [(tier.value, tuple(found.get((tier.value, name), (0, Cell(tier.value, name)))[1] for name in names)) for tier in TestTier]
    return Grid(tuple(names), tuple(rows))
