"""A plan as a person reads it: counts for everybody, a few rows of it for who may see such rows. Computed for the page, never kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.utils.text import Truncator, capfirst

from audit import history_pages, rows
from audit.history_pages import Change
from backups.live_restore.comparing import RowChange
from backups.live_restore.plans import ModelPlan, Plan

EXAMPLES = 5
VALUES = 4
TITLE = 80


@dataclass(frozen=True, slots=True)
class Example:
    """One row: what people call it, and what changes, or some of its values."""

    title: str
    values: list[Change]


@dataclass(frozen=True, slots=True)
class Group:
    """`word` is Added, Changed or Removed; `examples` are none for who may not see such rows."""

    word: str
    kind: str
    count: int
    examples: list[Example]


@dataclass(frozen=True, slots=True)
class ModelShown:
    """One model in which something would change."""

    name: str
    groups: list[Group]
    may_see: bool


def shown(plan: Plan, user: Any) -> list[ModelShown]:
    """What would change, with up to five examples of each kind."""
    return [_model_shown(one, user) for one in plan.models if one.compared.all]


def _model_shown(plan: ModelPlan, user: Any) -> ModelShown:
    opts, compared = plan.protected.model._meta, plan.compared
    may_see = user.has_perm(f"{opts.app_label}.view_{opts.model_name}")
    kinds = (
        ("Added", "good", compared.added),
        ("Changed", "info", compared.changed),
        ("Removed", "bad", compared.removed),
    )
    groups = [
        Group(word, kind, len(changes), list(_examples(plan, changes[:EXAMPLES])) if may_see else [])
        for word, kind, changes in kinds
        if changes
    ]
    return ModelShown(capfirst(str(opts.verbose_name_plural)), groups, may_see)


def _examples(plan: ModelPlan, changes: Iterable[RowChange]) -> Iterable[Example]:
    model = plan.protected.model
    for change in changes:
        before, after = (rows.instance_of(model, line) if line else None for line in (change.before, change.after))
        called = str(getattr(after or before, plan.protected.reference))
        changed = history_pages.differences(model, before, after) if before and after else _some_values(plan, after or before)
        yield Example(Truncator(called).chars(TITLE), changed)


def _some_values(plan: ModelPlan, row: Any) -> list[Change]:
    """Without what the page says anyhow: the customer, and what the row is called."""
    get: Any = plan.protected.model._meta.get_field
    known = {capfirst(str(get(name).verbose_name)) for name in (plan.protected.hops[0], plan.protected.reference) if name != "pk"}
    return [change for change in history_pages.values_of(plan.protected.model, row) if change.label not in known][:VALUES]
