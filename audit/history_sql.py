"""The statements that copy live rows into history, and history rows into the journal, inside the database.

Copied there, a history row holds what is stored and never what some instance in memory believes, its stream is the one that the stored
foreign keys lead to, and many rows cost one statement a batch.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.db import connections, models

from audit.models.journal import JournalRow
from audit.registry import SYSTEM_STREAM, Protected

BATCH_ROWS = 2000
# What a history row says beside the row's own columns and its stream.
FACTS = (
    "history_date",
    "history_type",
    "history_user_id",
    "history_change_reason",
    "history_transaction",
    "history_actor",
    "history_source",
)


def copy_rows(protected: Protected, keys: Sequence[Any], facts: dict[str, Any], alias: str, *, lock: bool = False) -> int:
    """Writes a history row and a journal row for each stored row of these primary keys; returns how many rows there were.

    With `lock` the rows are taken first, so that nobody changes them before this transaction ends.
    """
    connection, history = connections[alias], protected.history_model._meta
    pk: Any = protected.model._meta.pk
    values = [history.get_field(name).get_db_prep_save(facts[name], connection) for name in FACTS]  # type: ignore[union-attr]
    values += [pk.get_db_prep_value(key, connection) for key in keys]
    copy, journal = _copy(protected, alias), _journal(protected, alias)
    copy = f"{copy} ({_places(keys)}) ORDER BY 1"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            locked = " FOR UPDATE OF t0" if lock else ""
            cursor.execute(
                f"WITH copied AS ({copy}{locked} RETURNING history_id, history_stream, history_transaction) {journal} copied", values
            )
            return cursor.rowcount
        cursor.execute(copy, values)
        copied, last = cursor.rowcount, cursor.lastrowid
        if copied:
            # One statement of the only writer: its ids are the last ones, without a gap.
            cursor.execute(f"{journal} {connection.ops.quote_name(history.db_table)} WHERE history_id > %s", [last - copied])
        return copied


def copy_images(protected: Protected, history_ids: Sequence[int], facts: dict[str, Any], alias: str) -> int:
    """As `copy_rows`, of rows that are gone: each with the values and the stream of that history row, its newest one."""
    connection, history = connections[alias], protected.history_model._meta
    values = [history.get_field(name).get_db_prep_save(facts[name], connection) for name in FACTS]  # type: ignore[union-attr]
    copy, journal = f"{_copy_images(protected, alias)} ({_places(history_ids)}) ORDER BY h.history_id", _journal(protected, alias)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                f"WITH copied AS ({copy} RETURNING history_id, history_stream, history_transaction) {journal} copied",
                [*values, *history_ids],
            )
            return cursor.rowcount
        cursor.execute(copy, [*values, *history_ids])
        copied, last = cursor.rowcount, cursor.lastrowid
        if copied:
            cursor.execute(f"{journal} {connection.ops.quote_name(history.db_table)} WHERE history_id > %s", [last - copied])
        return copied


def streams(protected: Protected, instances: Iterable[models.Model], alias: str) -> set[uuid.UUID]:
    """The streams of the instances: by their own foreign key, and from there on by the stored ones (a parent in memory may lie)."""
    if not protected.hops:
        return {SYSTEM_STREAM}
    first: Any = protected.model._meta.get_field(protected.hops[0])
    parents = {getattr(instance, first.attname) for instance in instances} - {None}
    if len(protected.hops) == 1:
        return parents
    return {stream for batch in batches(sorted(parents)) for stream in _streams_of_parents(protected, first.target_field, batch, alias)}


def batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """The items in runs that one statement takes."""
    return (items[start : start + BATCH_ROWS] for start in range(0, len(items), BATCH_ROWS))


def _streams_of_parents(protected: Protected, target: models.Field, parents: Sequence[Any], alias: str) -> Iterable[uuid.UUID]:
    connection = connections[alias]
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_find_streams(protected, alias)} ({_places(parents)})", [target.get_db_prep_value(parent, connection) for parent in parents]
        )
        return [value if isinstance(value, uuid.UUID) else uuid.UUID(value) for (value,) in cursor.fetchall()]


def _places(values: Sequence[Any]) -> str:
    return ",".join(["%s"] * len(values))


def _quote(alias: str) -> Any:
    return connections[alias].ops.quote_name


# The statements below are made of names from the models alone; values are always parameters.


@cache
def _copy(protected: Protected, alias: str) -> str:
    connection, history = connections[alias], protected.history_model._meta
    quote, postgresql = _quote(alias), connection.vendor == "postgresql"
    pk, *others = sorted(protected.model._meta.concrete_fields, key=lambda field: not field.primary_key)
    columns = [quote(field.column) for field in (pk, *others)]
    # PostgreSQL takes a bare parameter in a SELECT for text.
    facts = [f"%s::{history.get_field(name).db_type(connection)}" if postgresql else "%s" for name in FACTS]
    tables, stream = path_to_stream(protected, alias)
    return (
        f"INSERT INTO {quote(history.db_table)} ({', '.join((*columns, *FACTS, 'history_stream'))}) "  # noqa: S608
        f"SELECT {', '.join((*(f't0.{column}' for column in columns), *facts, stream))} "
        f"FROM {quote(protected.model._meta.db_table)} t0{''.join(f' JOIN {table} ON {condition}' for table, condition in tables)} "
        f"WHERE t0.{columns[0]} IN"
    )


@cache
def _copy_images(protected: Protected, alias: str) -> str:
    connection, history = connections[alias], protected.history_model._meta
    quote, postgresql = _quote(alias), connection.vendor == "postgresql"
    columns = [quote(field.column) for field in protected.model._meta.concrete_fields]
    facts = [f"%s::{history.get_field(name).db_type(connection)}" if postgresql else "%s" for name in FACTS]
    return (
        f"INSERT INTO {quote(history.db_table)} ({', '.join((*columns, *FACTS, 'history_stream'))}) "  # noqa: S608
        f"SELECT {', '.join((*(f'h.{column}' for column in columns), *facts, 'h.history_stream'))} "
        f"FROM {quote(history.db_table)} h WHERE h.history_id IN"
    )


@cache
def _journal(protected: Protected, alias: str) -> str:
    table = _quote(alias)(JournalRow._meta.db_table)
    return (
        f"INSERT INTO {table} (stream_id, model, history_id, {_quote(alias)('transaction')}) "
        f"SELECT history_stream, '{protected.label}', history_id, history_transaction FROM"
    )


@cache
def _find_streams(protected: Protected, alias: str) -> str:
    quote = _quote(alias)
    target = protected.model._meta.get_field(protected.hops[0]).target_field  # type: ignore[union-attr]
    ((parent, _), *further), stream = path_to_stream(protected, alias)
    joins = "".join(f" JOIN {table} ON {condition}" for table, condition in further)
    return f"SELECT DISTINCT {stream} FROM {parent}{joins} WHERE t1.{quote(target.column)} IN"  # noqa: S608


def path_to_stream(protected: Protected, alias: str) -> tuple[list[tuple[str, str]], str]:
    """The tables between a row (`t0`) and its customer, each with the condition that joins it, and the expression for the stream."""
    connection = connections[alias]
    quote, model, tables = _quote(alias), protected.model, []
    if not protected.hops:
        literal = f"'{SYSTEM_STREAM}'::uuid" if connection.vendor == "postgresql" else f"'{SYSTEM_STREAM.hex}'"
        return [], literal
    *between, last = protected.hops
    for number, hop in enumerate(between, start=1):
        field: Any = model._meta.get_field(hop)
        condition = f"t{number - 1}.{quote(field.column)} = t{number}.{quote(field.target_field.column)}"
        tables.append((f"{quote(field.related_model._meta.db_table)} t{number}", condition))
        model = field.related_model
    return tables, f"t{len(between)}.{quote(model._meta.get_field(last).column)}"  # type: ignore[union-attr]
