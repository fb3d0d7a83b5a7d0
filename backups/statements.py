"""Statements that every small backup makes many times, written out: Django takes longer to build one than the database to run it.

They run on Django's connection, inside of its transactions and wrappers, so that whoever watches its statements sees these too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection, models

FETCH_ROWS = 2000


def change(statement: str, *values: Any) -> int:
    """Runs it; the number of rows that it wrote. Values as for `ask`."""
    with connection.cursor() as cursor:
        cursor.execute(*_adapted(statement, values))
        return int(cursor.rowcount)


def ask(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that it gives. Each `%s` is one value, or for a list as many as it has (at least one): `IN (%s)`."""
    return list(each(statement, *values))


def each(statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
    """As `ask`, some rows at a time, for there may be as many as a large customer has stored objects."""
    with connection.cursor() as cursor:
        cursor.execute(*_adapted(statement, values))
        while rows := cursor.fetchmany(FETCH_ROWS):
            yield from rows


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
