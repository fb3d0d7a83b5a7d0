"""Every row that is not as its newest history image says, of all streams: before migrations, and behind them.

What `audit.images` asks of one stream each night, in one statement a model for all of them, and every key, not the first hundred.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from audit.history_sql import path_to_stream
from audit.images import Fault, differs
from audit.registry import Protected

MEMORY = "64MB"


@dataclass(frozen=True, slots=True)
class Different:
    """`stream` is where the row's own foreign keys lead (the image's, when it is gone), `image` the id of its newest history row."""

    fault: Fault
    key: Any
    stream: uuid.UUID
    image: int | None
    moved: bool = False


def different(protected: Protected, connection: BaseDatabaseWrapper) -> Iterator[Different]:
    """Of one model, ordered by the key. The connection's transaction says as of which moment."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and connection.in_atomic_block:
            cursor.execute(f"SET LOCAL work_mem = '{MEMORY}'")
        cursor.execute(_statement(protected, connection))
        for fault, key, stream, past_stream, image in cursor.fetchall():
            here, there = _uuid(stream), _uuid(past_stream)
            found = here or there
            if found is not None:
                yield Different(Fault(fault), key, found, image, moved=here is not None and there is not None and here != there)


# Made of names from the models alone.


def _statement(protected: Protected, connection: BaseDatabaseWrapper) -> str:
    quote: Any = connection.ops.quote_name
    model, past = protected.model._meta, quote(protected.history_model._meta.db_table)
    key = quote(model.pk.column)
    tables, stream = path_to_stream(protected, connection.alias)
    path = "".join(f" JOIN {table} ON {condition}" for table, condition in tables)
    live = f"(SELECT t0.*, {stream} AS l2l_stream FROM {quote(model.db_table)} AS t0{path}) AS t"  # noqa: S608
    unlike = " OR ".join(differs(one, connection.alias) for one in model.concrete_fields if not one.primary_key)
    is_unlike = f"CASE WHEN t.{key} IS NULL THEN h.history_type <> '-' ELSE h.history_type = '-'{f' OR {unlike}' if unlike else ''} END"
    later = f"SELECT 1 FROM {past} AS l WHERE l.{key} = h.{key} AND l.history_id > h.history_id"  # noqa: S608
    counts = f"CASE WHEN h.history_id IS NULL THEN 1 = 1 WHEN {is_unlike} THEN NOT EXISTS ({later}) ELSE 1 = 0 END"
    fault = (
        f"CASE WHEN h.history_id IS NULL THEN '{Fault.UNKNOWN}' WHEN t.{key} IS NULL THEN '{Fault.GONE}' "
        f"WHEN h.history_type = '-' THEN '{Fault.BACK}' ELSE '{Fault.ALTERED}' END"
    )
    told = f"{fault}, coalesce(t.{key}, h.{key}) AS l2l_key, t.l2l_stream, h.history_stream, h.history_id"
    if connection.vendor == "postgresql":
        return f"SELECT {told} FROM {past} AS h FULL JOIN {live} ON t.{key} = h.{key} WHERE {counts} ORDER BY l2l_key"  # noqa: S608
    # SQLite looks up row by row: two questions cost it less than a full join (measured).
    known = f"EXISTS (SELECT 1 FROM {past} AS h WHERE h.{key} = t.{key})"  # noqa: S608
    return (
        f"SELECT {told} FROM {past} AS h LEFT JOIN {live} ON t.{key} = h.{key} WHERE {counts} "  # noqa: S608
        f"UNION ALL SELECT '{Fault.UNKNOWN}', t.{key}, t.l2l_stream, NULL, NULL FROM {live} WHERE NOT {known} ORDER BY 2"
    )


def _uuid(value: Any) -> uuid.UUID | None:
    return value if value is None or isinstance(value, uuid.UUID) else uuid.UUID(value)
