"""The database forgets what was deleted, or nothing is certified (P12)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from backups.destroy import forgetting
from backups.destroy.forgetting import NotForgotten, contains, forget
from backups.models import Lease
from subscriptions.models import DataRecord

pytestmark = pytest.mark.django_db(transaction=True)

on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="how SQLite forgets")
on_postgresql = pytest.mark.skipif(connection.vendor == "sqlite", reason="what PostgreSQL keeps")
NOW = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
MARK = "never-to-be-seen-again"


def file() -> Path:
    return Path(connection.settings_dict["NAME"])


def quickly() -> forgetting.Forgotten:
    return forget(lambda: NOW, tries=2, wait=0.01)


@on_sqlite
def test_a_deleted_row_is_in_no_file_of_the_database(acme: Any) -> None:
    for number in range(200):
        DataRecord.objects.create(customer=acme, kind="part", reference=f"{number}", data={"note": f"{MARK} {number} " * 40})
    log = file().with_name(f"{file().name}-wal")
    assert contains(file(), [MARK.encode()]) or contains(log, [MARK.encode()])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM l2l_subscriptions_datarecord")
        cursor.execute("DELETE FROM l2l_subscriptions_historicaldatarecord")
        cursor.execute("DELETE FROM l2l_audit_journalrow")
    done = quickly()
    assert not contains(file(), [MARK.encode()]) and log.stat().st_size == 0
    assert done.engine == "sqlite" and len(done.asserted) == 4
    assert not Lease.objects.filter(name=forgetting.PROBE).exists()


@on_sqlite
def test_a_reader_that_does_not_end_is_told_and_it_can_be_tried_again(acme: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout=50")
    with closing(sqlite3.connect(file(), isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM l2l_subscriptions_customer").fetchone()
        with pytest.raises(NotForgotten, match="another process holds it"):
            quickly()
    assert quickly().asserted
    connection.close()  # with that short patience


@on_sqlite
def test_without_secure_delete_nothing_is_said_to_be_forgotten(acme: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete=OFF")
    with pytest.raises(NotForgotten, match="secure_delete is off"):
        quickly()
    connection.close()


@on_sqlite
def test_without_room_nothing_is_begun(acme: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "ROOM", 10**12)
    with pytest.raises(NotForgotten, match="Make room"):
        quickly()


def test_inside_of_a_transaction_it_is_refused(acme: Any) -> None:
    with transaction.atomic(), pytest.raises(NotForgotten, match="outside of any"):
        quickly()


@on_postgresql
def test_what_postgresql_keeps_is_named_with_its_day(acme: Any, settings: Any) -> None:
    settings.L2L_DATABASE_BACKUPS_KEPT_DAYS, settings.L2L_DATABASE_WAL_KEPT_DAYS = 14, None
    done = quickly()
    said = {one.where.split()[0]: one.until for one in done.remains}
    assert "tables were vacuumed" in done.asserted[0] and len(done.remains) == 3
    assert "2026-03-24" in done.remains[2].until and "ask whoever runs it" in done.remains[1].until and "no date" in said["free"]


@on_postgresql
def test_every_table_with_a_customers_content_is_vacuumed(acme: Any) -> None:
    tables = forgetting.tables_with_content()
    assert {"l2l_subscriptions_datarecord", "l2l_subscriptions_historicaldatarecord", "l2l_audit_journalrow", "django_admin_log"} <= set(
        tables
    )
    assert {"l2l_subscriptions_export", "l2l_backups_blob", "django_q_ormq", "factory_downtime"} <= set(tables)


def test_a_mark_across_two_pieces_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "PIECE", 8)
    (tmp_path / "file").write_bytes(b"abcde-needle-fghij")
    assert contains(tmp_path / "file", [b"nothing", b"needle"]) and not contains(tmp_path / "file", [b"needles"])
