"""One consistent moment of the database, read on a connection of its own while writers go on (design section 5).

SQLite: a read transaction in WAL mode. PostgreSQL: REPEATABLE READ, READ ONLY. Neither blocks writers. Close it as soon as the rows are
read: it keeps SQLite's WAL from shrinking and PostgreSQL's vacuum from cleaning.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from typing import Any

from django.db import OperationalError, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import rows
from audit.row_sql import row_text
from backups.chunks import Batch, Joined, batched
from backups.copying import copied

logger = logging.getLogger(__name__)

FETCH_ROWS = 2000


class Snapshot:
    """Reads rows as they were when the snapshot was opened."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def batches(self, queryset: models.QuerySet, stream: uuid.UUID | None = None) -> Iterator[Batch | Joined]:
        """The rows in canonical JSON, in the order of the primary key; memory is bounded. `stream` only hastens it."""
        text = row_text(queryset.model, self.connection, stream)
        if text is None:
            return batched(self._lines_in_python(queryset.order_by("pk")))
        if self.connection.vendor == "postgresql":
            return copied(self.connection, queryset, text, self.companion)
        return self._fetched(queryset.order_by("pk").annotate(canonical_text=text))

    def _lines_in_python(self, queryset: models.QuerySet) -> Iterator[tuple[int | str, bytes]]:
        model: type[models.Model] = queryset.model
        names = [column.attname for column in rows.columns(model)]
        for values in self.converted(queryset.values_list(*names)):
            row = dict(zip(names, values, strict=True))
            key = row[str(model._meta.pk.attname)]
            yield (key if isinstance(key, int) else str(key)), rows.row_json(model, row).encode()

    def _fetched(self, queryset: models.QuerySet) -> Iterator[Batch]:
        dashed = isinstance(queryset.model._meta.pk, models.UUIDField)  # SQLite keeps the digits alone
        rows_of_text = queryset.values_list("pk", "canonical_text")
        statement, parameters = rows_of_text.query.get_compiler(connection=self.connection).as_sql()
        with self._cursor() as cursor:
            cursor.execute(statement, parameters)
            while fetched := cursor.fetchmany(FETCH_ROWS):
                keys = [str(uuid.UUID(key)) if dashed else key for key, _ in fetched]
                yield Batch([line for _, line in fetched], keys.__getitem__)

    @contextmanager
    def companion(self) -> Iterator[BaseDatabaseWrapper | None]:
        """Another connection that sees the same rows, for the length of the block (PostgreSQL only); None where there is none to spare.

        Short, for the server ends a transaction of the queue in which nothing happens (`server_limits`).
        """
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT pg_export_snapshot()")
            (moment,) = cursor.fetchone()
        companion = self.connection.copy()
        try:
            yield companion if _opened(companion, moment) else None
        finally:
            companion.close()

    def values(self, queryset: models.QuerySet) -> Iterator[tuple[Any, ...]]:
        """The rows of a `values_list` query as the database gives them."""
        statement, parameters = queryset.query.get_compiler(connection=self.connection).as_sql()
        with self._cursor() as cursor:
            cursor.execute(statement, parameters)
            while batch := cursor.fetchmany(FETCH_ROWS):
                yield from batch

    def converted(self, queryset: models.QuerySet) -> Iterator[Any]:
        """As `values`, each value as Django gives it."""
        compiler = queryset.query.get_compiler(connection=self.connection)
        return iter(compiler.results_iter(tuple_expected=True, chunked_fetch=True, chunk_size=FETCH_ROWS))

    def _cursor(self) -> Any:
        return self.connection.chunked_cursor()


# What a snapshot asks reads a stream by its indexes, once: compiling it, or starting workers for it, takes longer than it saves (measured).
_PLAIN_PLANS = "SET LOCAL jit = off; SET LOCAL max_parallel_workers_per_gather = 0"


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


def _opened(companion: BaseDatabaseWrapper, moment: str) -> bool:
    """Whether the server gave one more connection."""
    try:
        companion.ensure_connection()
    except OperationalError as problem:
        logger.warning("A large customer is read through one connection to the database, for it gave no second one: %s", problem)
        return False
    _begin(companion, moment)
    return True


def _begin(connection: BaseDatabaseWrapper, exported: str = "") -> None:
    """`exported` names another transaction's moment, for PostgreSQL."""
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        connection.set_autocommit(False)
        _execute(connection, f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; {_PLAIN_PLANS}")
    else:
        _execute(connection, "BEGIN DEFERRED")
    if exported:
        _execute(connection, f"SET TRANSACTION SNAPSHOT '{exported}'")
    # A transaction sees the moment of its first read, so that is now.
    _execute(connection, "SELECT count(*) FROM django_migrations")


def _execute(connection: BaseDatabaseWrapper, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        if cursor.description:
            cursor.fetchall()
