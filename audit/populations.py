"""Populations: all things of one kind in a period, for the auditor who asks for completeness first and samples then (P13).

Each app registers its own in its `populations.py` when it is ready. A population's rows carry ids, counts, digests, times and names of
staff; never a customer's values. Its filter is the exact condition by which its rows were chosen, as SQL a stranger could run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.promises import PROMISES


@dataclass(frozen=True, slots=True)
class Period:
    """From `begins`, up to and without `ends`; both aware."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Reconciled:
    """One equation that must hold, each side counted by a way of its own: `expected` called so, and the parts that make it up."""

    says: str
    expected: int
    found: int

    @property
    def holds(self) -> bool:
        return self.expected == self.found


@dataclass(frozen=True, slots=True)
class Population:
    """`rows` gives one tuple per member, in the order of `columns`, the first of which is its key; sorted by it, streaming. `reconcile`
    counts the same thing in other ways. `evidence` gives one member's full evidence by its key: bytes by file name."""

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


def all_populations() -> list[Population]:
    """By name."""
    return sorted(_registered.values(), key=lambda one: one.name)
