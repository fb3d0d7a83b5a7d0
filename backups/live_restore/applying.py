"""Writing a plan: inside the one transaction through the freeze (`audit.freezes.writing_through`), as tracked changes, and read back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from audit import exact, rows
from backups.errors import ReadBackDiffers
from backups.live_restore.comparing import RowChange
from backups.live_restore.live import live_lines, live_rows
from backups.live_restore.obstacles import unique_sets, values_of
from backups.live_restore.ordering import Order, Slot, in_order
from backups.live_restore.plans import ModelPlan, Plan

Told = Callable[[str], None]


def apply(plan: Plan, told: Told) -> None:
    """Removes children before their parents, then changes and adds parents before their children. Raises `IntegrityError` for what the
    database refuses (foreign keys at the commit)."""
    orders = {one.protected.label: order_of(one) for one in plan.models}
    for one in reversed(plan.models):
        told(f"removing rows of {one.protected.label}")
        exact.delete(one.protected.model, _keys(one, [*one.gone, *orders[one.protected.label].remade]))
    for one in plan.models:
        order = orders[one.protected.label]
        changed = {change.key: change for change in one.compared.changed}
        told(f"writing rows of {one.protected.label}: {len(one.moving):,} differ")
        exact.update(one.protected.model, _instances(one, (changed[key] for key in order.updates)))
        exact.create(one.protected.model, _instances(one, [*one.compared.added, *(changed[key] for key in order.remade)]))


def order_of(plan: ModelPlan) -> Order:
    """In which order the changed rows are updated, and which of them are removed and added again: one of those that swap unique values,
    and those that belong elsewhere now (a key that was used again under another parent)."""
    moved = [change.key for change in plan.compared.changed if _is_moved(plan, change)]
    staying = [change for change in plan.compared.changed if change.key not in set(moved)]
    order = in_order(
        {change.key: _slots(plan, change.before) for change in staying}, {change.key: _slots(plan, change.after) for change in staying}
    )
    return Order(order.updates, (*moved, *order.remade))


def read_back(plan: Plan) -> None:
    """Compares each written row, and the number of all rows, with the state; `ReadBackDiffers` when one is otherwise."""
    for one in plan.models:
        wanted = {change.key: change.after for change in one.compared.all if change.after is not None}
        found = dict(live_lines(one.protected, plan.source.stream, one.moving))
        other = [key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)]
        if other:
            raise ReadBackDiffers(
                f"The database gives {len(other)} rows of {one.protected.label} back otherwise than they were written (keys "
                f"{', '.join(map(str, other[:3]))}). Nothing was kept. Look for a trigger, or a failing disk."
            )
        if plan.chosen.keys is None:
            _check_count(one, plan.source.stream)


def _check_count(plan: ModelPlan, stream: uuid.UUID) -> None:
    count = live_rows(plan.protected, stream).count()
    if count != plan.compared.wanted:
        raise ReadBackDiffers(
            f"{plan.protected.label} would have {count:,} rows instead of {plan.compared.wanted:,}. Nothing was kept. Look for a trigger."
        )


def _is_moved(plan: ModelPlan, change: RowChange) -> bool:
    field: Any = plan.protected.model._meta.get_field(plan.protected.hops[0])
    return json.loads(change.before or b"{}")[field.column] != json.loads(change.after or b"{}")[field.column]


def _slots(plan: ModelPlan, line: bytes | None) -> frozenset[Slot]:
    row = json.loads(line or b"{}")
    values = ((name, values_of(row, fields)) for name, fields in unique_sets(plan.protected.model))
    return frozenset((name, value) for name, value in values if value is not None)


def _instances(plan: ModelPlan, changes: Iterable[RowChange]) -> list[Any]:
    return [rows.instance_of(plan.protected.model, change.after or b"") for change in changes]


def _keys(plan: ModelPlan, keys: Sequence[Any]) -> list[Any]:
    """Primary keys as the ORM takes them."""
    pk: Any = plan.protected.model._meta.pk
    return [pk.to_python(key) for key in keys]
