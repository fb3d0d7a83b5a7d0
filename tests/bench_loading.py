"""Measured: loading rows into PostgreSQL by COPY against executemany, and reading them back, in one run (`python -m tests.bench_loading`).

Figures are for people; nothing here passes or fails.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.both_databases import postgresql

ROWS = int(os.environ.get("L2L_BENCH_RECORDS", "300000"))


@contextmanager
def timed(what: str, figures: dict[str, float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    figures[what] = time.perf_counter() - began
    print(f"{what:<58}{figures[what]:8.2f} s {ROWS / figures[what]:12,.0f} rows/s", flush=True)


def history_lines() -> list[bytes]:
    """Versions of records, as a set holds them: 13 columns, about 500 bytes."""
    from audit import canonical

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
        canonical.dump_bytes(constant | {"data": contents[n % 1000], "history_id": n, "id": n, "reference": f"P-{n}"}) for n in range(ROWS)
    ]


def table_of(name: str) -> Any:
    from audit import registry, rows
    from backups.scratch.tables import Column, Table
    from subscriptions.models import DataRecord

    columns = rows.columns(registry.of(DataRecord).history_model)
    return Table(name, tuple(Column(column.name, column.kind, column.null) for column in columns), "history_id")


def insert(connection: Any, table: Any, rows: Iterator[list[str | None]]) -> None:
    """What anybody would write first: one INSERT a row; psycopg sends them in a pipeline."""
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table.name} VALUES ({', '.join(['%s'] * len(table.columns))})", rows)


def bench(url: str) -> None:
    from backups.scratch.lines import fields_of
    from backups.scratch.postgresql import PostgresqlScratch

    lines, figures = history_lines(), dict[str, float]()
    copied, inserted = table_of("copied"), table_of("inserted")
    with timed("taking the lines apart, alone", figures):
        for _ in fields_of(copied, lines):
            pass
    scratch = PostgresqlScratch(url)
    for table in (copied, inserted):
        scratch.create(table)
    with timed("COPY FROM STDIN", figures):
        scratch.load(copied, fields_of(copied, lines))
    with timed("executemany", figures):
        insert(scratch.connection, inserted, fields_of(inserted, lines))
    with timed("reading back as canonical JSON by COPY TO STDOUT", figures):
        for _ in scratch.lines(copied):
            pass
    scratch.close()
    apart, by_copy, by_insert = (figures[what] for what in ("taking the lines apart, alone", "COPY FROM STDIN", "executemany"))
    print(f"{'executemany / COPY':<58}{by_insert / by_copy:8.2f}")
    print(f"{'executemany / COPY, without taking the lines apart':<58}{(by_insert - apart) / (by_copy - apart):8.2f}")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="l2l-bench-") as folder, postgresql() as url:
        os.environ |= {"L2L_HOME": folder, "DJANGO_SETTINGS_MODULE": "l2l.settings"}
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        bench(url)
    return 0


if __name__ == "__main__":
    sys.exit(main())
