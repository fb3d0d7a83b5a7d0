"""In which order rows that take each other's unique values can be written (pure)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

# One value of one unique constraint.
Slot = tuple[str, Hashable]


@dataclass(frozen=True, slots=True)
class Order:
    """`updates`: keys in an order in which each finds its values free. `remade`: keys that stand in a circle of others (a swap): deleted
    first and inserted last, for no order of updates serves them."""

    updates: tuple[Any, ...]
    remade: tuple[Any, ...]


def in_order(holds: Mapping[Any, frozenset[Slot]], wants: Mapping[Any, frozenset[Slot]]) -> Order:
    """The order for changed rows, by their keys: what each holds now and what it will hold. One row of each circle is remade."""
    holder = {slot: key for key, slots in holds.items() for slot in slots}
    waits = {key: {holder[slot] for slot in slots if holder.get(slot, key) != key} for key, slots in wants.items()}
    frees: dict[Any, set[Any]] = {}
    for key, others in waits.items():
        for other in others:
            frees.setdefault(other, set()).add(key)
    left = dict.fromkeys(sorted(waits))
    ready = [key for key in left if not waits[key]]
    updates: list[Any] = []
    remade: list[Any] = []
    while left:
        if ready:
            key = ready.pop()
            updates.append(key)
        else:
            key = next(iter(left))
            remade.append(key)
        del left[key]
        for waiting in sorted(frees.get(key, ())):
            waits[waiting].discard(key)
            if waiting in left and not waits[waiting]:
                ready.append(waiting)
    return Order(tuple(updates), tuple(remade))
