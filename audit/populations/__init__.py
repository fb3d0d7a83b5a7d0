"""Populations: all things of one kind in a period, for the auditor who asks for completeness first and samples then (P13).

Each app registers its own in its `populations.py` when it is ready. A population's rows carry ids, counts, digests, times and names of
staff; never a customer's values. Its filter is the exact condition by which its rows were chosen, as SQL a stranger could run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from audit.promises import PROMISES

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Period:
    """From `begins`, up to and without `ends`; both aware, in the zone whose days and nights are meant."""

    begins: datetime
    ends: datetime

    @property
    def first(self) -> date:
        """Its first day, and the label of its first night."""
        return self.begins.date()

    @property
    def last(self) -> date:
        return (self.ends - MICROSECOND).date()

    def widened(self, by: timedelta = timedelta()) -> tuple[datetime, datetime]:
        """Its two ends in UTC, each so much further out (further in, where it is negative): by hours that pass, which are not those that a
        zone's clock shows where it jumps."""
        return self.begins.astimezone(UTC) - by, self.ends.astimezone(UTC) + by


@dataclass(frozen=True, slots=True)
class Told:
    """The evidence trail tells of each row of which `column` lies in the period: one event `event` of the subject `label:key`. Both are
    held against each other, so that neither a row without its event nor an event without its row goes unseen."""

    event: str
    label: str
    column: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One equation that must hold, each side counted by a way of its own: `expected` called so, and the parts that make it up. With `told`
    a stranger recounts it from the rows and the events alone."""

    says: str
    expected: int
    found: int
    told: Told | None = None

    @property
    def holds(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Population:
    """`rows` gives one tuple per member, in the order of `columns`, the first of which is its key; sorted by it, streaming. `reconcile`
    counts the same thing in other ways. `evidence` gives one member's full evidence by its key: bytes by file name.

    `filter` is what stands behind `SELECT ... ` (so: FROM ... WHERE ...), with `:begins`, `:ends`, `:first` and `:last` for the period
    (`audit.populations.sql.statement` puts them in)."""

    name: str
    title: str
    promises: tuple[str, ...]
    filter: str
    columns: tuple[str, ...]
    rows: Callable[[Period], Iterator[tuple[Any, ...]]]
    reconcile: Callable[[Period], list[Reconciled]]
    evidence: Callable[[str], dict[str, bytes]] | None = None


_registered: dict[str, Population] = {}


def register(population: Population) -> None:
    """Once per name. `ValueError` for a promise that there is not, or a name that is taken by another."""
    if unknown := set(population.promises) - PROMISES.keys():
        raise ValueError(f"There is no promise {', '.join(sorted(unknown))}.")
    if _registered.setdefault(population.name, population) != population:
        raise ValueError(f"There are two populations called {population.name}.")


def register_all(populations: Iterable[Population]) -> None:
    for one in populations:
        register(one)


def all_populations() -> list[Population]:
    """By name."""
    return sorted(_registered.values(), key=lambda one: one.name)


def by_name(name: str) -> Population | None:
    return _registered.get(name)
