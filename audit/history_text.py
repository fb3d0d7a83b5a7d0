"""The canonical text of history rows, and the shape of it: which columns a change's leaf covers (P8)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import canonical, rows
from audit.history_sql import batches
from audit.models import RowShape
from audit.registry import Protected
from audit.row_sql import row_text


def shape_of(protected: Protected) -> RowShape:
    """The present shape of the model's history rows; its row is made where there is none. Outside of the work that needs it, for
    another process may make it at the same time."""
    columns = canonical.dumps([column.described() for column in rows.columns(protected.history_model)])
    found, _ = RowShape.objects.get_or_create(
        model=protected.label, sha256=hashlib.sha256(columns.encode()).hexdigest(), defaults={"columns": columns}
    )
    return found


def texts(protected: Protected, history_ids: Sequence[int], connection: BaseDatabaseWrapper | None = None) -> dict[int, bytes]:
    """The canonical JSON of these history rows, with all their present columns; an id without a row is left out. `connection` is another
    one than the default one, such as a snapshot's."""
    found: dict[int, bytes] = {}
    for batch in batches(history_ids):
        found |= _texts(protected.history_model, batch, connection or connections["default"])
    return found


def texts_of_shape(
    protected: Protected,
    shape: RowShape,
    history_ids: Sequence[int],
    connection: BaseDatabaseWrapper | None = None,
    names: Mapping[str, str] = MappingProxyType({}),
) -> dict[int, bytes] | None:
    """As `texts`, with the columns of that shape, as they were called and written then; None when one of them is no longer kept. `names`
    are what renamed columns are called today (`audit.schema.lineage`)."""
    present = {column.name: column for column in rows.columns(protected.history_model)}
    then = canonical_columns(shape)
    if not names and [_written(column) for column in then] == [_written(column.described()) for column in present.values()]:
        return texts(protected, history_ids, connection)
    sources = {column["name"]: present.get(names.get(column["name"], column["name"])) for column in then}
    wanted = [(column, source) for column in then if (source := sources[column["name"]]) is not None]
    if len(wanted) < len(then):
        return None
    return {
        history_id: canonical.dump_bytes({column["name"]: _as_then(column, source, values[source.attname]) for column, source in wanted})
        for batch in batches(history_ids)
        for history_id, values in _values(protected.history_model, batch, connection or connections["default"]).items()
    }


def _written(column: Mapping[str, Any]) -> tuple[Any, ...]:
    return column["name"], column["kind"], column.get("places", 0)


def _as_then(column: Mapping[str, Any], source: rows.Column, value: Any) -> Any:
    """The JSON value as it was before the column's type changed, where today's value tells it (`audit.schema.losses`), else as it is."""
    if value is None or _written(column)[1:] == _written(source.described())[1:]:
        return rows.to_json(source, value)
    then = replace(source, kind=column["kind"], places=column.get("places", 0))
    try:
        return rows.to_json(then, value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return rows.to_json(source, value)


def canonical_columns(shape: RowShape) -> list[Mapping[str, Any]]:
    """The shape's columns as they were described."""
    return list(json.loads(shape.columns))


def _texts(history: type[models.Model], history_ids: Sequence[int], connection: BaseDatabaseWrapper) -> dict[int, bytes]:
    statement = _statement(history, connection.alias)
    if statement is None:
        return {key: rows.row_json(history, values).encode() for key, values in _values(history, history_ids, connection).items()}
    with connection.cursor() as cursor:
        cursor.execute(f"{statement} ({','.join(['%s'] * len(history_ids))})", list(history_ids))
        return {key: text.encode() if isinstance(text, str) else bytes(text) for key, text in cursor.fetchall()}


@cache
def _statement(history: type[models.Model], alias: str) -> str | None:
    """Up to the ids; None for models whose text the database does not make."""
    connection = connections[alias]
    text = row_text(history, connection)
    if text is None:
        return None
    quote = connection.ops.quote_name
    key = f"{quote(history._meta.db_table)}.{quote('history_id')}"
    return f"SELECT {key}, {text.sql} FROM {quote(history._meta.db_table)} WHERE {key} IN"  # noqa: S608  (names from the models)


def _values(history: type[models.Model], history_ids: Sequence[int], connection: BaseDatabaseWrapper) -> dict[int, dict[str, Any]]:
    names = [column.attname for column in rows.columns(history)]
    wanted: models.QuerySet[Any, Any] = models.QuerySet(history).filter(pk__in=history_ids).values_list(*names)
    found = wanted.query.get_compiler(connection=connection).results_iter(tuple_expected=True)
    return {values["history_id"]: values for values in (dict(zip(names, row, strict=True)) for row in found)}
