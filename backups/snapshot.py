"""One consistent moment of the database, read on a connection of its own while writers go on (design section 5).

SQLite: a read transaction in WAL mode. PostgreSQL: REPEATABLE READ, READ ONLY. Neither blocks writers. Close it as soon as the rows are
read: it keeps SQLite's WAL from shrinking and PostgreSQL's vacuum from cleaning.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq

from audit import rows
from audit.row_sql import row_text

FETCH_ROWS = 2000


class Snapshot:
    """Reads rows as they were when the snapshot was opened."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def lines(self, queryset: models.QuerySet, stream: uuid.UUID | None = None) -> Iterator[tuple[int | str, bytes]]:
        """Each row as (key, canonical JSON), in the order of the primary key; memory is bounded. `stream` only hastens it."""
        text = row_text(queryset.model, self.connection, stream)
        if text is None:
            yield from self._lines_in_python(queryset.order_by("pk"))
            return
        rows_of_text = queryset.order_by("pk").annotate(canonical_text=text).values_list("pk", "canonical_text")
        if self.connection.vendor == "postgresql":
            yield from self._copied(rows_of_text, integer_keys=isinstance(queryset.model._meta.pk, models.IntegerField))
            return
        dashed = isinstance(queryset.model._meta.pk, models.UUIDField)  # SQLite keeps the digits alone
        for key, line in self.values(rows_of_text):
            yield (key if isinstance(key, int) else str(uuid.UUID(key)) if dashed else str(key)), line

    def _lines_in_python(self, queryset: models.QuerySet) -> Iterator[tuple[int | str, bytes]]:
        model: type[models.Model] = queryset.model
        names = [column.attname for column in rows.columns(model)]
        for values in self._converted(queryset.values_list(*names)):
            row = dict(zip(names, values, strict=True))
            key = row[str(model._meta.pk.attname)]
            yield (key if isinstance(key, int) else str(key)), rows.row_json(model, row).encode()

    def _copied(self, queryset: models.QuerySet, *, integer_keys: bool) -> Iterator[tuple[int | str, bytes]]:
        """The rows of (key, text) through COPY, three times as fast as a cursor (measured). In COPY's text form only a backslash of our
        text is escaped: JSON has escaped everything else that COPY would."""
        statement, parameters = queryset.query.get_compiler(connection=self.connection).as_sql()
        with self.connection.cursor() as cursor:
            for block in _copy_out(self.connection.connection, cursor.mogrify(f"COPY ({statement}) TO STDOUT", parameters)):
                key, _, line = block.partition(b"\t")
                yield (int(key) if integer_keys else key.decode()), line[:-1].replace(b"\\\\", b"\\")

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


def _copy_out(connection: psycopg.Connection, statement: str) -> Iterator[bytes]:
    """Each row as COPY writes it. psycopg's own copy() waits for each row in Python, which costs more than all the rest (measured)."""
    wire = connection.pgconn
    begun = wire.exec_(statement.encode())
    if begun.status != pq.ExecStatus.COPY_OUT:
        raise OperationalError(begun.error_message.decode(errors="replace"))
    size = 1
    try:
        while True:
            size, data = wire.get_copy_data(0)
            if size < 0:
                break
            yield bytes(data)
    finally:
        while size > 0:  # nobody wants the rest, and the connection serves nothing else before its end
            size, _ = wire.get_copy_data(0)
        _refuse_trouble(wire)


def _refuse_trouble(wire: pq.abc.PGconn) -> None:
    """Reads the end of the answer; `OperationalError` when the server gave up on the way."""
    trouble = ""
    while (result := wire.get_result()) is not None:
        trouble = result.error_message.decode(errors="replace")
    if trouble:
        raise OperationalError(trouble)
