"""Registered steps that bring an old row to today's columns: the only way of a set of another schema into live tables (design section 8).

A step says which columns it takes and which it gives, not from which version it leads where: installations number their versions
differently, and a nine-year-old set knows its columns and nothing of ours. Steps are tried in the order in which they were registered,
oldest first, each once, where its columns are there as it takes them.

    @audit.upgrade("factory.machine", takes={"weight": "decimal(2)"}, gives={"mass": "decimal(4)"})
    def weight_is_mass(row):
        return {**row, "mass": row["weight"] and row["weight"] + "00"}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from audit import canonical
from audit.errors import AuditError

# A row as canonical JSON has it: values by the names of columns (docs/format.md).
Row = dict[str, Any]
# Columns by name, each with its kind as `kind_of` writes it.
Kinds = dict[str, str]


class NoUpgrade(AuditError):
    """The registered steps do not lead from those columns to today's; the message names what is missing, and how it is registered."""


@dataclass(frozen=True, slots=True)
class Step:
    """`takes` must be there as written and is gone behind it, but for what `gives` names again."""

    model: str
    name: str
    takes: Mapping[str, str]
    gives: Mapping[str, str]
    function: Callable[[Row], Row]

    def applies(self, kinds: Kinds) -> bool:
        """A column that is given must not be there already, unless the step takes it."""
        taken = all(kinds.get(name) == kind for name, kind in self.takes.items())
        return taken and not any(name in kinds and name not in self.takes for name in self.gives)

    def behind(self, kinds: Kinds) -> Kinds:
        return {name: kind for name, kind in kinds.items() if name not in self.takes} | dict(self.gives)

    def __call__(self, row: Row) -> Row:
        """The row behind the step. Raises `NoUpgrade` when the function gives other columns than the step names."""
        kept = {name for name in row if name not in self.takes} | set(self.gives)
        made = self.function(dict(row))
        if lacking := kept - made.keys():
            raise NoUpgrade(f"The upgrade step {self.name} of {self.model} gives no {', '.join(sorted(lacking))}: mend it.")
        return {name: value for name, value in made.items() if name in kept}


_steps: list[Step] = []


def upgrade(
    model: str, *, takes: Mapping[str, str] | None = None, gives: Mapping[str, str] | None = None
) -> Callable[[Callable[[Row], Row]], Callable[[Row], Row]]:
    """Decorator of a pure function from a row to a row. `takes` and `gives` are names of columns with their kinds (`text`, `integer`,
    `decimal(4)`, as docs/format.md lists them). Columns that neither names stay as they are."""
    if not takes and not gives:
        raise TypeError("upgrade() says which columns it takes, which it gives, or both")

    def register(function: Callable[[Row], Row]) -> Callable[[Row], Row]:
        _steps.append(Step(model.lower(), function.__name__, takes or {}, gives or {}, function))
        return function

    return register


def kind_of(column: Mapping[str, Any]) -> str:
    """The kind of a column as `audit.rows` describes it; of a decimal with its digits after the point."""
    return f"decimal({column['places']})" if column["kind"] == "decimal" else str(column["kind"])


def path(
    model: str, then: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]], known: Sequence[Step] | None = None
) -> list[Step]:
    """The steps from the columns of then to those of now; none where they are the same. Raises `NoUpgrade`."""
    kinds, wanted = _kinds(then), _kinds(now)
    found: list[Step] = []
    for step in _steps if known is None else known:
        if step.model == model and kinds != wanted and step.applies(kinds):
            found.append(step)
            kinds = step.behind(kinds)
    if kinds != wanted:
        raise NoUpgrade(_missing(model, kinds, wanted))
    return found


def upgraded(steps: Sequence[Step], line: bytes, now: Sequence[Mapping[str, Any]]) -> bytes:
    """The canonical text of the row behind the steps. Raises `NoUpgrade` for a column without a value that must have one today."""
    row: Row = json.loads(line)
    for step in steps:
        row = step(row)
    if empty := [column["name"] for column in now if not column["null"] and row[column["name"]] is None]:
        raise NoUpgrade(
            f"A row has no value in {', '.join(empty)}, which must have one today. Register a step that gives it one "
            "(docs/protect-your-models.md)."
        )
    return canonical.dump_bytes(row)


def _kinds(columns: Sequence[Mapping[str, Any]]) -> Kinds:
    return {column["name"]: kind_of(column) for column in columns}


def _missing(model: str, kinds: Kinds, wanted: Kinds) -> str:
    gone = [f"{name} ({kind})" for name, kind in sorted(kinds.items()) if wanted.get(name) != kind]
    new = [f"{name} ({kind})" for name, kind in sorted(wanted.items()) if kinds.get(name) != kind]
    parts = [f"had {', '.join(gone)}, which is not so today"] * bool(gone) + [f"lacked {', '.join(new)}"] * bool(new)
    return (
        f'{model} had other columns then: it {" and ".join(parts)}. Register how such rows become today\'s with @audit.upgrade("{model}", '
        "takes=…, gives=…) (docs/protect-your-models.md), or restore it to a folder and import from there."
    )
