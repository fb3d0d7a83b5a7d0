"""One consistent moment of the database, read on a connection of its own while writers go on (design section 5).

SQLite: a read transaction in WAL mode. PostgreSQL: REPEATABLE READ, READ ONLY. Neither blocks writers. Close it as soon as the rows are
read: it keeps SQLite's WAL from shrinking and PostgreSQL's vacuum from cleaning.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import rows
from audit.row_sql import row_text

FETCH_ROWS = 2000


class Snapshot:
    """Reads rows as they were when the snapshot was opened."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def lines(self, queryset: models.QuerySet, stream: uuid.UUID | None = None) -> Iterator[tuple[int | str, str]]:
        """Each row as (key, canonical JSON), in the order of the primary key; memory is bounded. `stream` only hastens it."""
        model: type[models.Model] = queryset.model
        ordered = queryset.order_by("pk")
        text = row_text(model, self.connection, stream)
        if text is not None:
            for key, line in self.values(ordered.annotate(canonical_text=text).values_list("pk", "canonical_text")):
                yield (key if isinstance(key, int) else str(key)), line
            return
        names = [column.attname for column in rows.columns(model)]
        for values in self._converted(ordered.values_list(*names)):
            row = dict(zip(names, values, strict=True))
            key = row[str(model._meta.pk.attname)]
            yield (key if isinstance(key, int) else str(key)), rows.row_json(model, row)

    def values(self, queryset: models.QuerySet) -> Iterator[tuple[Any, ...]]:
        """The rows of a `values_list` query as the database gives them."""
        statement, parameters = queryset.query.get_compiler(connection=self.connection).as_sql()
        with self._cursor() as cursor:
            cursor.execute(statement, parameters)
            while batch := cursor.fetchmany(FETCH_ROWS):
                yield from batch

    def _converted(self, queryset: models.QuerySet) -> Iterator[Any]:
        compiler = queryset.query.get_compiler(connection=self.connection)
        return iter(compiler.results_iter(tuple_expected=True, chunked_fetch=True, chunk_size=FETCH_ROWS))

    def _cursor(self) -> Any:
        return self.connection.chunked_cursor()


@contextmanager
def snapshot(alias: str = "default") -> Iterator[Snapshot]:
    """The state of the database as it is now, for the length of the block."""
    connection = connections[alias].copy()
    try:
        _begin(connection)
        yield Snapshot(connection)
        connection.connection.rollback()
    finally:
        connection.close()


def _begin(connection: BaseDatabaseWrapper) -> None:
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        connection.set_autocommit(False)
        _execute(connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        _execute(connection, "BEGIN DEFERRED")
    # A transaction sees the moment of its first read, so that is now.
    _execute(connection, "SELECT count(*) FROM django_migrations")


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        if cursor.description:
            cursor.fetchall()
