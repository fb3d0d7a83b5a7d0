"""The protected models as the database has them while migrations wait to be run: built from the migrations that were applied.

The code knows the columns of tomorrow; whatever reads rows before the migrations ran would ask for columns that are not there yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import operations
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.db.migrations.state import ProjectState

from audit import registry
from audit.errors import AuditError
from audit.registry import Protected
from audit.schema.describing import Described

# What may change rows without saying which.
DATA = (operations.RunPython, operations.RunSQL)


class ModelRenamed(AuditError):
    """A migration would rename a protected model."""


@dataclass(frozen=True, slots=True)
class FormerProtected(Protected):
    """A protected model as it was; its history model is told, for historical models have no descriptors."""

    past: type[models.Model]

    @property
    def history_model(self) -> type[models.Model]:
        return self.past


@dataclass(frozen=True)
class Plan:
    """The migrations that wait, in their order, and the state of the models before and behind them."""

    migrations: Sequence[Migration]
    before: ProjectState
    behind: ProjectState

    @property
    def names(self) -> list[str]:
        return [str(one) for one in self.migrations]

    @property
    def apps(self) -> set[str]:
        return {one.app_label for one in self.migrations}

    def why(self, label: str) -> str:
        """The reason given for the changes that they made to a model's rows: the migrations that can have made them."""
        app = label.partition(".")[0]
        able = [str(one) for one in self.migrations if one.app_label == app or any(isinstance(step, DATA) for step in one.operations)]
        return f"migration {', '.join(able or self.names)}"


def waiting(connection: BaseDatabaseWrapper) -> Plan:
    """The plan of `migrate`; without migrations when nothing waits."""
    executor = MigrationExecutor(connection)
    plan = [migration for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())]
    before = executor.loader.project_state([key for key in executor.loader.applied_migrations if key in executor.loader.graph.nodes])
    return Plan(plan, before, executor.loader.project_state(executor.loader.graph.leaf_nodes()))


def models_then(apps: Apps, known: Described) -> list[Protected]:
    """The models that `known` (a recorded version's) tells of, with the columns that the state `apps` has of them."""
    return [
        FormerProtected(apps.get_model(label), one["customer"], one["reference"], apps.get_model(one["past"]))
        for label, one in known.items()
        if _has(apps, label) and _has(apps, one["past"])
    ]


def known_today() -> Described:
    """Where no version is recorded: the paths and names that the code has today, without columns."""
    return {
        one.label: {"customer": one.customer, "reference": one.reference, "past": one.history_model._meta.label_lower}
        for one in registry.protected()
    }


def renamed_columns(plan: Plan, known: Described) -> dict[str, dict[str, str]]:
    """By model: old names of columns with the new ones. Raises `ModelRenamed`: journal and sets know rows by the model's name."""
    found: dict[str, dict[str, str]] = {}
    fields = _field_names(plan, known)
    for label in known:
        app, name = label.split(".")
        then, now = plan.before.models.get((app, name)), plan.behind.models.get((app, name))
        if then is None or now is None:
            continue
        columns = _columns(plan.before.apps, label), _columns(plan.behind.apps, label)
        pairs = {columns[0].get(field): columns[1].get(fields.get((label, field), field)) for field in then.fields}
        renames = {old: new for old, new in pairs.items() if old and new and old != new}
        if renames:
            found[label] = renames
    return found


def _field_names(plan: Plan, known: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """What the fields that were renamed on the way are called behind it, by model and the name before."""
    names: dict[tuple[str, str], str] = {}
    for migration in plan.migrations:
        for step in _steps(migration.operations):
            if isinstance(step, operations.RenameModel) and f"{migration.app_label}.{step.old_name_lower}" in known:
                raise ModelRenamed(
                    f"{migration} renames the protected model {migration.app_label}.{step.old_name}: the journal and every set know its "
                    "rows by that name, and would lose them. Keep the model's name (its db_table and verbose_name may change)."
                )
            if isinstance(step, operations.RenameField):
                label = f"{migration.app_label}.{step.model_name_lower}"
                first = next((old for (of, old), new in names.items() if (of, new) == (label, step.old_name)), step.old_name)
                names[label, first] = step.new_name
    return names


def _steps(found: Sequence[Any]) -> list[Any]:
    """The operations, those inside of `SeparateDatabaseAndState` too."""
    flat: list[Any] = []
    for one in found:
        flat += _steps(one.state_operations) if isinstance(one, operations.SeparateDatabaseAndState) else [one]
    return flat


def _columns(apps: Apps, label: str) -> dict[str, str]:
    return {field.name: str(field.column) for field in apps.get_model(label)._meta.concrete_fields}


def _has(apps: Apps, label: str) -> bool:
    try:
        apps.get_model(label)
    except LookupError:
        return False
    return True
