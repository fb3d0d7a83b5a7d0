"""Loading rows into PostgreSQL: COPY against executemany, and reading them back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from audit import canonical, registry
from audit import rows as row_forms
from backups.scratch.lines import fields_of
from backups.scratch.postgresql import PostgresqlScratch
from backups.scratch.tables import Column, Table
from subscriptions.models import DataRecord
from tests.bench.measuring import show, timed
from tests.both_databases import postgresql

APART, COPIED, INSERTED = "taking the lines apart, alone", "COPY FROM STDIN", "executemany"


def history_lines(count: int) -> list[bytes]:
    """Versions of records, as a set holds them: 13 columns, about 500 bytes."""
    customer, transaction = str(uuid.uuid4()), str(uuid.uuid4())
    constant = {
        "customer_id": customer,
        "history_stream": customer,
        "history_transaction": transaction,
        "history_type": "+",
        "kind": "part",
    }
    constant |= {"history_actor": "bench", "history_source": "bench", "history_change_reason": None, "history_user_id": None}
    constant |= {"history_date": "2026-03-01T12:00:00.123456Z"}
    contents = [{"Name": f"Part {n}", "Price": f"{n % 997}.50", "Note": 'as ordered\t"' + "so " * 25} for n in range(1000)]
    return [
        canonical.dump_bytes(constant | {"data": contents[n % 1000], "history_id": n, "id": n, "reference": f"P-{n}"}) for n in range(count)
    ]


def table_of(name: str) -> Table:
    columns = row_forms.columns(registry.of(DataRecord).history_model)
    return Table(name, tuple(Column(column.name, column.kind, column.null) for column in columns), "history_id")


def insert(connection: psycopg.Connection, table: Table, rows: Iterator[list[str | None]]) -> None:
    """What anybody would write first: one INSERT a row; psycopg sends them in a pipeline."""
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table.name} VALUES ({', '.join(['%s'] * len(table.columns))})", rows)


def measure(rows: int, folder: Path) -> None:
    lines, figures = history_lines(rows), dict[str, float]()
    copied, inserted = table_of("copied"), table_of("inserted")
    with timed(APART, figures):
        for _ in fields_of(copied, lines):
            pass
    with postgresql() as url:
        scratch = PostgresqlScratch(url)
        for table in (copied, inserted):
            scratch.create(table)
        with timed(COPIED, figures):
            scratch.load(copied, fields_of(copied, lines))
        with timed(INSERTED, figures):
            insert(scratch.connection, inserted, fields_of(inserted, lines))
        with timed(f"{rows:,} rows read back as canonical JSON by COPY TO STDOUT", figures):
            for _ in scratch.lines(copied):
                pass
        scratch.close()
    show("executemany / COPY", figures[INSERTED] / figures[COPIED])
    show("executemany / COPY, without taking the lines apart", (figures[INSERTED] - figures[APART]) / (figures[COPIED] - figures[APART]))
