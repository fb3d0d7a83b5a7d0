"""Quarters of a year, in UTC: `2026-Q4` is from the first of October to the end of the year (pure)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

# What a quarter asks for may be done for so long after its end.
GRACE = timedelta(days=14)
_NAME = re.compile(r"(\d{4})-Q([1-4])")


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    year: int
    number: int

    @property
    def first_day(self) -> date:
        return date(self.year, 3 * self.number - 2, 1)

    @property
    def last_day(self) -> date:
        return self.next.first_day - timedelta(days=1)

    @property
    def due_on(self) -> date:
        """The last day on which its duties are done in time."""
        return self.last_day + GRACE

    @property
    def next(self) -> Quarter:
        return Quarter(self.year + self.number // 4, self.number % 4 + 1)

    @property
    def before(self) -> Quarter:
        return Quarter(self.year - (self.number == 1), (self.number - 2) % 4 + 1)

    def __str__(self) -> str:
        return f"{self.year}-Q{self.number}"


def quarter_of(moment: datetime) -> Quarter:
    at = moment.astimezone(UTC)
    return Quarter(at.year, (at.month + 2) // 3)


def named(text: str) -> Quarter:
    """`ValueError` for anything that is not written as 2026-Q4."""
    found = _NAME.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no quarter: write it as 2026-Q4.")
    return Quarter(int(found[1]), int(found[2]))
