"""Who is billed against whom we serve (pure: no Django, no clock, no settings; P1).

billed = matched + unknown here + not running here; ours = matched + not at billing + not billed today. So both sums reconcile, and each
customer that differs stands in exactly one list. Agreements are compared for customers that match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum


class Kind(StrEnum):
    """How the two differ; the word is stored."""

    UNKNOWN_HERE = "unknown-here"
    NOT_RUNNING_HERE = "not-running-here"
    NOT_AT_BILLING = "not-at-billing"
    NOT_BILLED_TODAY = "not-billed-today"
    AGREEMENT_NOT_HERE = "agreement-not-here"
    AGREEMENT_NOT_BILLED = "agreement-not-billed"


@dataclass(frozen=True, slots=True)
class Billed:
    """One line of billing's list; without dates it is billed for good, without a number for whatever was agreed."""

    code: str
    agreement_number: str = ""
    first: date | None = None
    last: date | None = None

    def on(self, day: date) -> bool:
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


@dataclass(frozen=True, slots=True)
class Ours:
    """One customer of ours on its own day: the agreements that run."""

    code: str
    day: date
    running: frozenset[str]


@dataclass(slots=True)
class Comparison:
    """How many are billed, ours and both; for each kind of difference the short codes, with agreement numbers where these differ."""

    billed: int = 0
    ours: int = 0
    matched: int = 0
    differences: dict[Kind, list[tuple[str, ...]]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(len(found) for found in self.differences.values())

    def differs(self, kind: Kind, *names: str) -> None:
        self.differences.setdefault(kind, []).append(names)


def compare(lines: Iterable[Billed], customers: Mapping[str, Ours], today: date) -> Comparison:
    """`customers` are all that we know, by short code; `today` is the day for those that we do not know."""
    by_code: dict[str, list[Billed]] = {}
    for line in lines:
        by_code.setdefault(line.code, []).append(line)
    found = Comparison()
    for code in sorted({*by_code, *customers}):
        _compare_one(found, code, by_code.get(code, []), customers.get(code), today)
    return found


def _compare_one(found: Comparison, code: str, lines: list[Billed], ours: Ours | None, today: date) -> None:
    billed = [line for line in lines if line.on(ours.day if ours else today)]
    runs = ours is not None and bool(ours.running)
    found.billed += bool(billed)
    found.ours += runs
    found.matched += bool(billed) and runs
    if billed and not runs:
        found.differs(Kind.UNKNOWN_HERE if ours is None else Kind.NOT_RUNNING_HERE, code)
    elif runs and not billed:
        found.differs(Kind.NOT_BILLED_TODAY if lines else Kind.NOT_AT_BILLING, code)
    elif billed and ours is not None:
        _compare_agreements(found, code, {line.agreement_number for line in billed}, ours.running)


def _compare_agreements(found: Comparison, code: str, billed: set[str], running: frozenset[str]) -> None:
    for number in sorted(billed - running - {""}):
        found.differs(Kind.AGREEMENT_NOT_HERE, code, number)
    if "" not in billed:
        for number in sorted(running - billed):
            found.differs(Kind.AGREEMENT_NOT_BILLED, code, number)
