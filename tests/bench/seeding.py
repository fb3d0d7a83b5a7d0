"""A customer of many records, written in bulk as the tracked verbs would leave it: rows with their history and journal rows.

A transaction spans a hundred rows, a minute ten thousand, as an import would do it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.transaction import atomic

ROWS_A_TRANSACTION = 100
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)

RECORD, HISTORY, JOURNAL = "l2l_subscriptions_datarecord", "l2l_subscriptions_historicaldatarecord", "l2l_audit_journalrow"
TABLES = (RECORD, HISTORY, JOURNAL)
_KEYS = {RECORD: "id", HISTORY: "history_id", JOURNAL: "id"}
_COLUMNS = {
    RECORD: ("id", "kind", "reference", "data", "customer_id"),
    HISTORY: (
        *("history_id", "id", "kind", "reference", "data", "customer_id", "history_date", "history_type"),
        *("history_stream", "history_transaction", "history_actor", "history_source"),
    ),
    JOURNAL: ("id", "model", "history_id", "transaction", "written_at", "stream_id"),
}
_NOTE = "as ordered " * 9


def seed(customer: Any, records: int) -> None:
    """`records` records of the customer, each made once."""
    with atomic():
        first = {table: _next_id(table, key) for table, key in _KEYS.items()}
        stored_id = customer.pk if connection.vendor == "postgresql" else customer.pk.hex
        for table, row in _rows(first, stored_id).items():
            _write(table, (row(n) for n in range(records)))
    if connection.vendor == "postgresql":
        _settle()


def _rows(first: dict[str, int], customer: Any) -> dict[str, Callable[[int], tuple[Any, ...]]]:
    def record(n: int) -> tuple[Any, ...]:
        return first[RECORD] + n, "part", f"P-{n}", _data(n), customer

    def history(n: int) -> tuple[Any, ...]:
        return first[HISTORY] + n, *record(n), _moment(n), "+", customer, _transaction(n), "bench", "bench"

    def journal(n: int) -> tuple[Any, ...]:
        return first[JOURNAL] + n, "l2l_subscriptions.datarecord", first[HISTORY] + n, _transaction(n), _moment(n), customer

    return {RECORD: record, HISTORY: history, JOURNAL: journal}


def _data(n: int) -> str:
    """Canonical, and another one for each record, for what is always the same is read and compressed sooner than it should be."""
    serial = n * 0x9E3779B97F4A7C15 % 2**48
    return f'{{"Bin":"{n % 61}","Colour":"red","Name":"Part {n % 1000}","Note":"{_NOTE}","Price":"{n % 997}.50","Serial":"{serial:012x}"}}'


def _transaction(n: int) -> str:
    return _transaction_of(n // ROWS_A_TRANSACTION)


@lru_cache(maxsize=10)
def _transaction_of(hundred: int) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, str(hundred)).hex


def _moment(n: int) -> str:
    moment = BEGAN + timedelta(microseconds=6001 * (n - n % ROWS_A_TRANSACTION) + n % ROWS_A_TRANSACTION)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f") + ("+00" if connection.vendor == "postgresql" else "")


def _next_id(table: str, key: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max({key}), 0) + 1 FROM {table}")
        return int(cursor.fetchone()[0])


def _write(table: str, rows: Iterator[Sequence[Any]]) -> None:
    columns = ", ".join(f'"{name}"' for name in _COLUMNS[table])
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            marks = ", ".join("?" for _ in _COLUMNS[table])
            cursor.connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
            return
        with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def _settle() -> None:
    """The numbers that the database gives out next follow what was written, and the planner knows the tables."""
    with connection.cursor() as cursor:
        for table, key in _KEYS.items():
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{key}'), (SELECT coalesce(max({key}), 1) FROM {table}))")
            cursor.execute(f"VACUUM ANALYZE {table}")
