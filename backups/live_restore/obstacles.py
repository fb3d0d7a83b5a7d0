"""What of a plan the database would refuse, said before anything is written: foreign keys left hanging, keys and values that are taken."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import models

from audit import registry, rows
from backups.live_restore.live import key_of, plain
from backups.live_restore.plans import ModelPlan

BATCH = 500
NAMED = 3


def obstacles(stream: uuid.UUID, plans: Sequence[ModelPlan]) -> list[str]:
    """One sentence for each kind of obstacle, with the keys of a few rows; none when the plan can be written."""
    by_model: dict[type[models.Model], ModelPlan] = {plan.protected.model: plan for plan in plans}
    found = [text for plan in plans for check in (_taken_keys, _taken_values) for text in check(plan)]
    for plan in plans:
        found += _left_pointing(plan, by_model)
        found += _pointing_nowhere(plan, by_model)
    return found


def unique_sets(model: type[models.Model]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Each set of fields whose values no two rows share, called by their names; the primary key aside. Constraints over expressions or
    under a condition are left to the database."""
    fields: list[Sequence[str]] = [(field.name,) for field in model._meta.concrete_fields if field.unique and not field.primary_key]
    fields += list(model._meta.unique_together)
    fields += [one.fields for one in model._meta.total_unique_constraints]
    for names in fields:
        yield ",".join(names), tuple(model._meta.get_field(name) for name in names)


def values_of(row: dict[str, Any], fields: Sequence[Any]) -> tuple[Any, ...] | None:
    """The values of those fields in a canonical row; None where one is null, for nulls are all different."""
    values = tuple(_hashable(row[field.column]) for field in fields)
    return None if any(value is None for value in values) else values


def _hashable(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _some(keys: Sequence[Any]) -> str:
    return ", ".join(map(str, keys[:NAMED])) + (" …" if len(keys) > NAMED else "")


def _taken_keys(plan: ModelPlan) -> Iterator[str]:
    """An added row whose primary key another customer's row has by now."""
    added = [change.key for change in plan.compared.added]
    taken = [key for batch in _batches(added) for key in plain(plan.protected.model).filter(pk__in=batch).values_list("pk", flat=True)]
    if taken:
        yield f"{len(taken)} rows of {plan.protected.label} cannot come back: their keys ({_some(taken)}) belong to other rows by now."


def _taken_values(plan: ModelPlan) -> Iterator[str]:
    """A unique value that a row outside of the plan has."""
    model = plan.protected.model
    for name, fields in unique_sets(model):
        wanted = {}
        for change in (*plan.compared.added, *plan.compared.changed):
            values = values_of(json.loads(change.after or b"{}"), fields)
            if values is not None:
                wanted[values] = change.key
        taken = [wanted[values] for key, values in _holders(model, fields, list(wanted)) if key not in plan.moving and values in wanted]
        if taken:
            yield (
                f"{len(taken)} rows of {plan.protected.label} (keys {_some(taken)}) would have values of {name} that other rows have now: "
                "rename those first, or restore the whole model."
            )


def _holders(model: type[models.Model], fields: Sequence[Any], wanted: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """The rows that may hold one of the wanted tuples: key and values, as canonical JSON has them."""
    columns = {column.attname: column for column in rows.columns(model)}
    names = [field.attname for field in fields]
    for batch in _batches(wanted):
        among = {
            f"{field.attname}__in": [rows.from_json(columns[field.attname], value) for value in {values[at] for values in batch}]
            for at, field in enumerate(fields)
        }
        for key, *values in plain(model).filter(**among).values_list("pk", *names):
            canonical = tuple(_hashable(rows.to_json(columns[name], value)) for name, value in zip(names, values, strict=True))
            yield key_of(registry.of(model), key), canonical


def _left_pointing(plan: ModelPlan, by_model: dict[type[models.Model], ModelPlan]) -> Iterator[str]:
    """Rows, protected or not, that would point at a removed row."""
    removed = [change.key for change in plan.compared.removed]
    for relation in plan.protected.model._meta.get_fields(include_hidden=True) if removed else ():
        if not relation.auto_created or relation.concrete or not (relation.one_to_many or relation.one_to_one):
            continue
        field: Any = relation.field  # type: ignore[union-attr]
        if field.remote_field.on_delete is models.DO_NOTHING and not field.db_constraint:
            continue  # as history rows point: at what may be gone
        hanging = [key for batch in _batches(removed) for key in _pointing_at(plan, field, batch, by_model.get(field.model))]
        if hanging:
            yield (
                f"{len(hanging)} rows of {field.model._meta.label_lower} (keys {_some(hanging)}) point at rows of "
                f"{plan.protected.label} that would be removed: remove those first, or restore them too."
            )


def _pointing_at(plan: ModelPlan, field: Any, removed: Sequence[Any], other: ModelPlan | None) -> Iterator[Any]:
    """Those that stay as they are. (Where changed rows will point is asked of them.)"""
    targets = plain(plan.protected.model).filter(pk__in=removed).values(field.target_field.attname)
    for key in plain(field.model).filter(**{f"{field.name}__in": targets}).values_list("pk", flat=True):
        if other is None or key_of(other.protected, key) not in other.moving:
            yield key


def _pointing_nowhere(plan: ModelPlan, by_model: dict[type[models.Model], ModelPlan]) -> Iterator[str]:
    """Rows that would come back and point at what is not there."""
    coming = (*plan.compared.added, *plan.compared.changed)
    for field in plan.protected.model._meta.concrete_fields if coming else ():
        if not field.is_relation:
            continue
        pointing = ((change.key, json.loads(change.after or b"{}")[field.column]) for change in coming)
        points = {key: value for key, value in pointing if value is not None}
        there = _present(field, list(set(points.values())), by_model.get(field.related_model))  # type: ignore[arg-type]
        hanging = [key for key, value in points.items() if value not in there]
        if hanging:
            yield (
                f"{len(hanging)} rows of {plan.protected.label} (keys {_some(hanging)}) would point at rows of "
                f"{field.related_model._meta.label_lower} that are not there: restore those too."  # type: ignore[union-attr]
            )


def _present(field: Any, values: Sequence[Any], other: ModelPlan | None) -> set[Any]:
    """Those of the values (as canonical JSON has them) that a row of the other model has after the restore."""
    target, model = field.target_field, field.related_model
    column = next(one for one in rows.columns(field.model) if one.attname == field.attname)
    found = set()
    for batch in _batches(values):
        among = {f"{target.attname}__in": [rows.from_json(column, value) for value in batch]}
        for key, value in plain(model).filter(**among).values_list("pk", target.attname):
            if other is None or key_of(other.protected, key) not in other.gone:
                found.add(rows.to_json(column, value))
    if other is not None:
        found |= {json.loads(change.after or b"{}")[target.column] for change in (*other.compared.added, *other.compared.changed)}
    return found
