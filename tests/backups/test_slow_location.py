"""A location that is slow, or answers not at all for a while, does not keep the snapshot of the database open."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from django.core.files.base import ContentFile
from django.db import connection

from audit.models import Stream
from backups.nightly import back_up
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import DataRecord, UploadedContent

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 30.0


def snapshot_is_open() -> bool:
    """Asked of the database itself, on a connection of its own: whether anybody reads an older moment."""
    if connection.vendor == "postgresql":
        with psycopg.connect(**{**connection.get_connection_params(), "cursor_factory": psycopg.Cursor}) as other:
            held = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            return bool(other.execute(f"{held} AND backend_xmin IS NOT NULL").fetchone()[0])  # type: ignore[index]
    with closing(sqlite3.connect(connection.settings_dict["NAME"], timeout=0)) as other:
        try:
            busy, *_ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError as problem:
            if "locked" in str(problem):  # somebody writes at this moment, so the question was not answered
                return True
            raise
        return bool(busy)


def closed_in_time() -> bool:
    until = time.monotonic() + PATIENCE
    while snapshot_is_open():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def test_the_snapshot_is_closed_while_a_location_still_takes_its_first_blob(make_vault: Callable[..., Vault], acme: Any) -> None:
    wide = {"Note": "x" * 100_000}  # more than a blob's worth in all, so that the first blob is put while rows are still read
    DataRecord.objects.tracked_create(DataRecord(customer=acme, kind="part", reference=str(n), data=wide) for n in range(100))
    UploadedContent.objects.create(customer=acme, name="note.txt", file=ContentFile(b"a note", name="x"))
    slow = MemoryStore("memory:slow")
    vault = make_vault(primary=MemoryStore("memory:primary"), offsite=slow)
    closed: list[bool] = []

    def take_until_the_snapshot_is_closed(operation: str, name: str) -> None:
        if operation == "put" and "/blobs/" in name:
            closed.append(closed_in_time())

    slow.fail = take_until_the_snapshot_is_closed
    outcome = back_up(vault, Stream.objects.get(pk=acme.pk))
    assert closed and all(closed)
    assert outcome.whole_at == ["primary", "offsite"] and outcome.good
