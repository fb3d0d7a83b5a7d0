"""Statements that every small backup makes many times, written out: Django takes longer to build one than the database to run it.

They run on Django's connection, inside of its transactions and wrappers, so that whoever watches its statements sees these too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from django.db import DatabaseError, connection, models

FETCH_ROWS = 2000


def change(statement: str, *values: Any) -> int:
    """Runs it; the number of rows that it wrote. Values as for `ask`."""
    with connection.cursor() as cursor:
        cursor.execute(*_adapted(statement, values))
        return int(cursor.rowcount)


def change_each(statement: str, rows: Sequence[Sequence[Any]]) -> None:
    """Runs it for each of the rows of values."""
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(statement, [[_value(value) for value in row] for row in rows])


def ask(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that it gives. Each `%s` is one value, or for a list as many as it has (at least one): `IN (%s)`."""
    return list(each(statement, *values))


def each(statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """As `ask`, some rows at a time, for there may be as many as a large customer has stored objects."""
    with connection.cursor() as cursor:
        cursor.execute(*_adapted(statement, values))
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from rows


def insert(rows: Sequence[models.Model]) -> None:
    """As new rows, at least one, of one model; an instance without a key gets the one that the database gives."""
    given = rows[0].pk is not None
    statement = _insert(type(rows[0]), given)
    fields = _fields(type(rows[0]), given)
    marks = ", ".join(f"({', '.join(['%s'] * len(fields))})" for _ in rows)
    with connection.cursor() as cursor:
        cursor.execute(statement + marks + _returning(rows[0], given), [_prepared(field, row) for row in rows for field in fields])
        if not given:
            for row, (key,) in zip(rows, cursor.fetchall(), strict=True):
                row.pk = key


def save(row: models.Model, *names: str) -> None:
    """The named fields of a row that is there; `DatabaseError` when it no longer is."""
    values = {name: getattr(row, _field(type(row), name).attname) for name in names}
    if not update(type(row), {"pk": row.pk}, **values):
        raise DatabaseError(f"{row._meta.verbose_name} {row.pk} is no longer there.")


def update(model: type[models.Model], where: Mapping[str, Any], **values: Any) -> int:
    """Sets these fields of the rows that hold `where` (None is null); the number of rows. `where` is what was seen: compare and set."""
    asked = {name: value for name, value in where.items() if value is not None}
    statement = _update(model, tuple(values), tuple(where), tuple(asked))
    given = [*values.items(), *asked.items()]
    with connection.cursor() as cursor:
        cursor.execute(statement, [_field(model, name).get_db_prep_save(value, connection) for name, value in given])
        return int(cursor.rowcount)


@cache
def _field(model: type[models.Model], name: str) -> Any:
    return model._meta.pk if name == "pk" else model._meta.get_field(name)


@cache
def _update(model: type[models.Model], values: tuple[str, ...], where: tuple[str, ...], asked: tuple[str, ...]) -> str:
    settings = ", ".join(f"{_column(model, name)} = %s" for name in values)
    conditions = [f"{_column(model, name)} = %s" for name in asked]
    conditions += [f"{_column(model, name)} IS NULL" for name in where if name not in asked]
    return f"UPDATE {_quoted(model._meta.db_table)} SET {settings} WHERE {' AND '.join(conditions)}"  # noqa: S608  (names from the models)


@cache
def _insert(model: type[models.Model], with_key: bool) -> str:
    columns = ", ".join(_quoted(field.column) for field in _fields(model, with_key))
    return f"INSERT INTO {_quoted(model._meta.db_table)} ({columns}) VALUES "  # noqa: S608


def _returning(row: models.Model, given: bool) -> str:
    return "" if given else f" RETURNING {_column(type(row), 'pk')}"


@cache
def _fields(model: type[models.Model], with_key: bool) -> tuple[Any, ...]:
    return tuple(field for field in model._meta.concrete_fields if with_key or not field.primary_key)


def _column(model: type[models.Model], name: str) -> str:
    return _quoted(_field(model, name).column)


def _quoted(name: str) -> str:
    return str(connection.ops.quote_name(name))


def _prepared(field: Any, row: models.Model) -> Any:
    return field.get_db_prep_save(getattr(row, field.attname), connection)


def locked(statement: str) -> str:
    """The same with a lock on its rows, where the database has one; SQLite's transactions begin with a lock on everything."""
    return f"{statement} FOR UPDATE" if connection.features.has_select_for_update else statement


def _adapted(statement: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
    lists = [value if isinstance(value, list | tuple) else [value] for value in values]
    marks = [", ".join(["%s"] * len(one)) for one in lists]
    return statement % tuple(marks), [_value(value) for one in lists for value in one]


def _value(value: Any) -> Any:
    """As the fields of the models hand it to the database."""
    if isinstance(value, models.Choices):
        return value.value
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    if isinstance(value, uuid.UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value
