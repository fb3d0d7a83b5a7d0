"""Making the plan: the state's rows against the live rows, model by model; lost files; what stands in the way."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from django.db.models import TextField
from django.db.models.functions import Cast

from audit import registry, rows, upgrades
from audit.registry import Protected
from audit.upgrades import NoUpgrade, Step
from backups.choosing import Only, Selection
from backups.errors import NoSet
from backups.live_restore.comparing import Allowance, Line, compare
from backups.live_restore.files import lost_files
from backups.live_restore.live import key_of, live_lines, live_rows
from backups.live_restore.obstacles import obstacles
from backups.live_restore.plans import Chosen, ModelPlan, Plan
from backups.live_restore.sources import Source
from backups.manifest import Part


def chosen_of(source: Source, only: Only | None) -> Chosen:
    """What `only` names, as a model and primary keys: those of the rows that ever had the reference in the state's history, and of those
    that have it now. Raises `NoSet` when there are none, or no such model."""
    if only is None:
        return Chosen()
    protected = registry.by_label(only.model)
    if protected is None or not protected.customer:
        raise NoSet(f"There is no model {only.model!r} of customers' content; there are {', '.join(_labels(source.stream))}.")
    if only.reference is None:
        return Chosen(protected.label)
    live = live_rows(protected, source.stream).annotate(called=Cast(protected.reference, TextField())).filter(called=only.reference)
    keys = {key_of(protected, key) for key in live.values_list("pk", flat=True)}
    return Chosen(protected.label, frozenset(keys | _kept_keys(source, Only(protected.label, only.reference), may_lack=bool(keys))))


def _kept_keys(source: Source, only: Only, *, may_lack: bool) -> set[Any]:
    try:
        return Selection(source.reader, only).keys or set()
    except NoSet:
        if not may_lack:
            raise
        return set()


def make_plan(source: Source, chosen: Chosen, allowance: Allowance | None = None) -> Plan:
    """The plan as it is now. Raises `TooMuchDiffers`, and what reading the state raises."""
    allowance, notes = allowance or Allowance(), list(source.reader.notes)
    plans, unfit = [], []
    for protected in registry.of_stream(source.stream):
        part = source.reader.part("rows", protected.label)
        if not chosen.wants(protected.label):
            continue
        if part is None:
            notes.append(f"The state does not know {protected.label}: its rows are left as they are")
            continue
        try:
            steps = upgrades.path(protected.label, part.columns, _columns(protected))
        except NoUpgrade as missing:
            unfit.append(str(missing))
            continue
        notes += [f"The state's rows of {protected.label} are brought to today's columns by {_names(steps)}"] if steps else []
        plans.append(_compared(source, protected, part, steps, chosen, allowance))
    unfit += [f"{part.model} is no model of this software any more." for part in source.reader.parts if _is_unknown(part, chosen)]
    lost, unfindable = lost_files(source, plans)
    return Plan(source, chosen, tuple(plans), lost, (*unfit, *unfindable, *obstacles(source.stream, plans)), tuple(notes))


def _compared(source: Source, protected: Protected, part: Part, steps: Sequence[Step], chosen: Chosen, allowance: Allowance) -> ModelPlan:
    wanted = _wanted(
        source, part, chosen.keys, partial(upgrades.upgraded, steps, now=_columns(protected)) if _differs(protected, part) else None
    )
    return ModelPlan(protected, compare(live_lines(protected, source.stream, chosen.keys), wanted, allowance), wanted)


def _wanted(
    source: Source, part: Part, keys: frozenset[Any] | None, upgraded: Callable[[bytes], bytes] | None
) -> Callable[[], Iterator[Line]]:
    """`upgraded` makes today's rows of those of another schema; None where there is nothing to do."""

    def lines() -> Iterator[Line]:
        for line in source.reader.lines(part):
            key = json.loads(line.decode())[part.key]
            if keys is None or key in keys:
                yield key, upgraded(line) if upgraded else line

    return lines


def _columns(protected: Protected) -> list[dict[str, Any]]:
    return [column.described() for column in rows.columns(protected.model)]


def _differs(protected: Protected, part: Part) -> bool:
    return sorted(part.columns, key=itemgetter("name")) != _columns(protected)


def _names(steps: Sequence[Step]) -> str:
    return ", ".join(step.name for step in steps)


def _is_unknown(part: Part, chosen: Chosen) -> bool:
    return part.what == "rows" and chosen.model in ("", part.model) and bool(part.chunks) and registry.by_label(part.model) is None


def _labels(stream: uuid.UUID) -> list[str]:
    return [one.label for one in registry.of_stream(stream)]
