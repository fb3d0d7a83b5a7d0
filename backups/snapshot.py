"""One consistent moment of the database, read on a connection of its own while writers go on (design section 5).

SQLite: a read transaction in WAL mode. PostgreSQL: REPEATABLE READ, READ ONLY. Neither blocks writers. Close it as soon as the rows are
read: it keeps SQLite's WAL from shrinking and PostgreSQL's vacuum from cleaning.
"""

from __future__ import annotations

import select
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

import psycopg
from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.functions import Cast
from psycopg import pq

from audit import rows
from audit.row_sql import row_text
from backups.ahead import ahead
from backups.chunks import BATCH_BYTES, Batch, batched

FETCH_ROWS = 2000
BATCHES_AHEAD = 32
_COPY_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_COPY_HEAD_BYTES = len(_COPY_SIGNATURE) + 8  # flags, and the length of an extension: none
_COPY_END = b"\xff\xff"


class Snapshot:
    """Reads rows as they were when the snapshot was opened."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def batches(self, queryset: models.QuerySet, stream: uuid.UUID | None = None) -> Iterator[Batch]:
        """The rows in canonical JSON, in the order of the primary key; memory is bounded. `stream` only hastens it."""
        text = row_text(queryset.model, self.connection, stream)
        if text is None:
            return batched(self._lines_in_python(queryset.order_by("pk")))
        with_text = queryset.order_by("pk").annotate(canonical_text=text)
        return self._copied(with_text) if self.connection.vendor == "postgresql" else self._fetched(with_text)

    def _lines_in_python(self, queryset: models.QuerySet) -> Iterator[tuple[int | str, bytes]]:
        model: type[models.Model] = queryset.model
        names = [column.attname for column in rows.columns(model)]
        for values in self._converted(queryset.values_list(*names)):
            row = dict(zip(names, values, strict=True))
            key = row[str(model._meta.pk.attname)]
            yield (key if isinstance(key, int) else str(key)), rows.row_json(model, row).encode()

    def _copied(self, queryset: models.QuerySet) -> Iterator[Batch]:
        """Through COPY, three times as fast as a cursor (measured), in its binary form, which escapes nothing: 2 bytes that count the
        columns, then for each 4 bytes of length and its bytes."""
        integer_keys = isinstance(queryset.model._meta.pk, models.IntegerField)
        key = Cast("pk", models.BigIntegerField() if integer_keys else models.TextField())
        rows_of_text = queryset.annotate(copied_key=key).values_list("copied_key", "canonical_text")
        statement, parameters = rows_of_text.query.get_compiler(connection=self.connection).as_sql()
        with self.connection.cursor() as cursor:
            copy = cursor.mogrify(f"COPY ({statement}) TO STDOUT (FORMAT binary)", parameters)
        for copied in ahead(_copy_out(self.connection.connection, copy), BATCHES_AHEAD):
            yield _with_integer_keys(copied) if integer_keys else _with_text_keys(copied)

    def _fetched(self, queryset: models.QuerySet) -> Iterator[Batch]:
        dashed = isinstance(queryset.model._meta.pk, models.UUIDField)  # SQLite keeps the digits alone
        rows_of_text = queryset.values_list("pk", "canonical_text")
        statement, parameters = rows_of_text.query.get_compiler(connection=self.connection).as_sql()
        with self._cursor() as cursor:
            cursor.execute(statement, parameters)
            while fetched := cursor.fetchmany(FETCH_ROWS):
                keys = [str(uuid.UUID(key)) if dashed else key for key, _ in fetched]
                yield Batch([line for _, line in fetched], keys.__getitem__)

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


class _Kept(local):
    """This thread's connection for snapshots, while it keeps one."""

    connection: BaseDatabaseWrapper | None = None


_kept = _Kept()


@contextmanager
def one_connection(alias: str = "default") -> Iterator[None]:
    """Within the block this thread's snapshots, one after another, share a connection: opening one costs more than a small customer's
    whole reading (PostgreSQL starts a process for it)."""
    _kept.connection = connections[alias].copy()
    try:
        yield
    finally:
        _kept.connection.close()
        _kept.connection = None


@contextmanager
def snapshot(alias: str = "default") -> Iterator[Snapshot]:
    """The state of the database as it is now, for the length of the block."""
    connection, whole = _kept.connection or connections[alias].copy(), False
    try:
        _begin(connection)
        yield Snapshot(connection)
        connection.connection.rollback()
        whole = True
    finally:
        if connection is not _kept.connection or not whole:  # after trouble the next snapshot opens it anew
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


def _copy_out(connection: psycopg.Connection, statement: str) -> Generator[list[bytes], None, None]:
    """The rows as COPY writes them, some at a time. psycopg's own copy() waits for each row in Python, which costs more than all the
    rest (measured), and libpq's own waiting would hold up every other thread."""
    wire = connection.pgconn
    begun = wire.exec_(statement.encode())
    if begun.status != pq.ExecStatus.COPY_OUT:
        raise OperationalError(begun.error_message.decode(errors="replace"))
    arrival = select.poll()
    arrival.register(wire.socket, select.POLLIN)
    size = 1
    try:
        rows: list[bytes] = []
        gathered = 0
        while size >= 0:
            size, data = wire.get_copy_data(1)
            if size > 0:
                rows.append(bytes(data))
                gathered += size
            elif size == 0:
                arrival.poll()
                wire.consume_input()
            if gathered >= BATCH_BYTES:
                yield from _unframed(rows)
                rows, gathered = [], 0
        yield from _unframed(rows)
    finally:
        while size >= 0:  # nobody wants the rest, and the connection serves nothing else before its end
            size, _ = wire.get_copy_data(0)
        _refuse_trouble(wire)


def _unframed(rows: list[bytes]) -> Iterator[list[bytes]]:
    """Without the head that stands before the first row, and the mark after the last one."""
    if rows and rows[0][: len(_COPY_SIGNATURE)] == _COPY_SIGNATURE:
        rows[0] = rows[0][_COPY_HEAD_BYTES:]
    while rows and (not rows[-1] or rows[-1] == _COPY_END):
        rows.pop()
    if rows:
        yield rows


def _with_integer_keys(copied: list[bytes]) -> Batch:
    return Batch(_whole([row[18:] for row in copied]), lambda at: int.from_bytes(copied[at][6:14], "big", signed=True))


def _with_text_keys(copied: list[bytes]) -> Batch:
    starts = [6 + int.from_bytes(row[2:6], "big") for row in copied]
    keys = [row[6:start].decode() for row, start in zip(copied, starts, strict=True)]
    return Batch(_whole([row[start + 4 :] for row, start in zip(copied, starts, strict=True)]), keys.__getitem__)


def _whole(lines: list[bytes]) -> list[bytes]:
    """The lines; `OperationalError` where the text of a row is null: a column that never is one, by its model, holds it nevertheless."""
    if not all(lines):
        raise OperationalError(
            "A row has null in a column that allows none, so its text cannot be made. Look for a constraint that was dropped."
        )
    return lines


def _refuse_trouble(wire: pq.abc.PGconn) -> None:
    """Reads the end of the answer; `OperationalError` when the server gave up on the way."""
    trouble = ""
    while (result := wire.get_result()) is not None:
        trouble = result.error_message.decode(errors="replace")
    if trouble:
        raise OperationalError(trouble)
