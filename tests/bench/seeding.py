"""Measured comparisons, each a ratio taken in one run (`make bench`). Figures are for people; nothing here passes or fails.

Full set of a million records on SQLite against a raw read of the same tables to NDJSON, and the second night with the newest 1 % changed.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORDS = int(os.environ.get("L2L_BENCH_RECORDS", "1000000"))


@contextmanager
def timed(what: str, figures: dict[str, float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    figures[what] = time.perf_counter() - began
    print(f"{what:<58}{figures[what]:8.2f} s", flush=True)


def seed(customer: Any) -> None:
    """Rows with their history and journal rows as the tracked verbs would leave them, written in bulk."""
    from django.db import connection

    customer_id, transaction = customer.pk.hex, uuid.uuid4().hex
    first = _next_ids(connection)
    data = [
        json.dumps({"Name": f"Part {n}", "Colour": "red", "Price": f"{n % 997}.50", "Bin": f"{n % 61}", "Note": "as ordered " * 9})
        for n in range(1000)
    ]

    def write(statement: str, rows: Callable[[int], tuple[Any, ...]]) -> None:
        with connection.cursor() as cursor:
            cursor.connection.executemany(statement, (rows(n) for n in range(RECORDS)))

    from django.db.transaction import atomic

    with atomic():
        write(
            "INSERT INTO l2l_subscriptions_datarecord (id, kind, reference, data, customer_id) VALUES (?,?,?,?,?)",
            lambda n: (first["record"] + n, "part", f"P-{n}", data[n % 1000], customer_id),
        )
        write(
            "INSERT INTO l2l_subscriptions_historicaldatarecord (history_id, id, kind, reference, data, customer_id, history_date,"
            " history_type, history_stream, history_transaction, history_actor, history_source) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            lambda n: (
                *(first["history"] + n, first["record"] + n, "part", f"P-{n}", data[n % 1000], customer_id),
                *("2026-03-01 12:00:00.123456", "+", customer_id, transaction, "bench", "bench"),
            ),
        )
        write(
            'INSERT INTO l2l_audit_journalrow (id, model, history_id, "transaction", written_at, stream_id) VALUES (?,?,?,?,?,?)',
            lambda n: (
                *(first["journal"] + n, "l2l_subscriptions.datarecord", first["history"] + n),
                *(transaction, "2026-03-01 12:00:00.123", customer_id),
            ),
        )


def _next_ids(connection: Any) -> dict[str, int]:
    tables = {"record": ("l2l_subscriptions_datarecord", "id"), "history": ("l2l_subscriptions_historicaldatarecord", "history_id")}
    tables["journal"] = ("l2l_audit_journalrow", "id")
    with connection.cursor() as cursor:
        found = {}
        for name, (table, column) in tables.items():
            cursor.execute(f"SELECT coalesce(max({column}), 0) + 1 FROM {table}")
            found[name] = cursor.fetchone()[0]
    return found


def raw_read(database: Path, folder: Path, customer_id: str, tables: list[tuple[str, str]]) -> None:
    """What anybody would write first: SELECT and json.dumps, a line a row."""
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    for table, owner in tables:
        with (folder / f"{table}.ndjson").open("w") as file:
            for row in connection.execute(f"SELECT * FROM {table} WHERE {owner} = ?", [customer_id]):
                file.write(json.dumps(dict(row)) + "\n")
    connection.close()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bench(home: Path) -> None:
    from datetime import date

    from django.core.management import call_command

    import audit
    from audit.models import Stream
    from backups import vault as vaults
    from backups.nightly import back_up
    from subscriptions.models import DataRecord
    from subscriptions.onboarding import add_customer

    figures: dict[str, float] = {}
    call_command("init", verbosity=0)
    with audit.acting("bench", reason="bench", source="bench"):
        customer = add_customer("bench", "Bench", start=date(2026, 1, 1))
        with timed(f"seeding {RECORDS:,} records with history and journal", figures):
            seed(customer)
        database, hexed = home / "l2l.sqlite3", customer.pk.hex
        live, history = ("l2l_subscriptions_datarecord", "customer_id"), ("l2l_subscriptions_historicaldatarecord", "history_stream")
        with timed("raw read to NDJSON: live rows and history", figures):
            raw_read(database, home, hexed, [live, history])
        vault, stream = vaults.from_settings(), Stream.objects.get(pk=customer.pk)
        print(f"{'memory before the set':<58}{peak_mib():8.0f} MiB")
        with timed("full set, to two folders, read back", figures):
            first = back_up(vault, stream).backup_set
        print(f"{'peak memory with the set':<58}{peak_mib():8.0f} MiB")
        ratio = figures["full set, to two folders, read back"] / figures["raw read to NDJSON: live rows and history"]
        print(f"{'full set / raw read':<58}{ratio:8.2f}")
        newest = DataRecord.objects.filter(customer=customer).order_by("-pk")[: RECORDS // 100]
        changed = [setattr(one, "data", {**one.data, "Bin": "changed"}) or one for one in newest]
        DataRecord.objects.tracked_update(changed)
        with timed("second night, newest 1 % changed", figures):
            second = back_up(vault, stream).backup_set
        print(f"{'second night stores, of the first':<58}{100 * second.new_bytes / first.new_bytes:8.2f} %")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="l2l-bench-") as folder:
        os.environ |= {"L2L_HOME": folder, "DJANGO_SETTINGS_MODULE": "l2l.settings"}
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        bench(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
