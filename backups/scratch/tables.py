"""The tables that a set becomes, from its manifest alone: no model of this software is asked, so that old sets load for ever (pure).

| part | table | primary key |
|---|---|---|
| `rows` of `app.model` | `app_model` | the model's own |
| `history` | `app_model_history` | `history_id` |
| `files` | `app_model_files`: `number`, `name`, `sha256`, `size`, `absent`; not the bytes | `number`, counted in the set's order |
| `journal` | `journal` | `id` |
| what was restored | `restored_set`: one row, written last but one transaction with the rest | `id` |

Columns are called as in the model's own table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from backups.manifest import BadManifest, Part

KINDS = frozenset(
    ("integer", "text", "json", "boolean", "uuid", "datetime", "date", "time", "decimal", "float", "duration", "binary"),
)
# PostgreSQL cuts longer names without a word, and two tables would become one.
MAX_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is the column's in the set's rows; `sql_name` in the table."""

    name: str
    kind: str
    null: bool = False

    @property
    def sql_name(self) -> str:
        return fitting(self.name)


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` in the order of their names, as the set's rows have them; `key` names one; `indexes` are (name of the index, column)."""

    name: str
    columns: tuple[Column, ...]
    key: str
    indexes: tuple[tuple[str, Column], ...] = ()


RESTORED_SET = Table("restored_set", (Column("document", "json"), Column("id", "integer")), "id")
_FILES = tuple(
    Column(name, kind)
    for name, kind in (("absent", "boolean"), ("name", "text"), ("number", "integer"), ("sha256", "text"), ("size", "integer"))
)


def tables_of(parts: Iterable[Part]) -> list[tuple[Part, Table]]:
    """Each part with its table. Raises `BadManifest` for a kind of column or a key that is not known here."""
    parts, taken = list(parts), {RESTORED_SET.name}
    keys = {part.model: part.key for part in parts if part.what == "rows"}
    tables = [(part, _free_name(_name_of(part), taken)) for part in parts]  # before any index takes a name
    return [(part, _table(part, name, keys.get(part.model, ""), taken)) for part, name in tables]


def fitting(name: str) -> str:
    """`name`, or where it is too long its beginning with a digest of the whole."""
    data = name.encode()
    if len(data) <= MAX_NAME_BYTES:
        return name
    return f"{data[: MAX_NAME_BYTES - 9].decode(errors='ignore')}_{hashlib.sha256(data).hexdigest()[:8]}"


def _name_of(part: Part) -> str:
    if part.what == "journal":
        return "journal"
    model = part.model.replace(".", "_")
    return model if part.what == "rows" else f"{model}_{part.what}"


def _free_name(name: str, taken: set[str]) -> str:
    """A second part of the name (a model with two file columns has two parts of files) gets a number."""
    found, number = fitting(name), 1
    while found in taken:
        number += 1
        found = fitting(f"{name}_{number}")
    taken.add(found)
    return found


def _table(part: Part, name: str, row_key: str, taken: set[str]) -> Table:
    columns = _FILES if part.what == "files" else _columns(part)
    key = "number" if part.what == "files" else part.key
    if all(column.name != key for column in columns):
        raise BadManifest(f"{part.what} of {part.model} are ordered by {key!r}, which is not one of their columns")
    wanted = {"files": ("name",), "journal": ("history_id",)}.get(part.what, (part.reference, row_key))
    indexed = [column for column in columns if column.name in wanted and column.name != key and column.kind not in ("json", "binary")]
    return Table(name, columns, key, tuple((_free_name(f"{name}_{column.name}_idx", taken), column) for column in indexed))


def _columns(part: Part) -> tuple[Column, ...]:
    found = []
    for described in sorted(part.columns, key=lambda one: str(one["name"])):
        name, kind = described["name"], described["kind"]
        if kind not in KINDS:
            raise BadManifest(f"{part.what} of {part.model}: column {name!r} is of kind {kind!r}, which this software does not know")
        found.append(Column(name, kind, described["null"]))
    return tuple(found)
