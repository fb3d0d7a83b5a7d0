"""However much a customer has, a backup and a restore stay within the memory of a small machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.backups.targets import Target, database_on
from tests.home import PROJECT, Home

pytestmark = pytest.mark.slow

RECORDS = 300_000
UPLOAD_MIB = 300
LIMIT_MIB = 250

SEED = """
import sys
from datetime import date
from pathlib import Path

import django

django.setup()

from django.core.files.base import File

import audit
from subscriptions.models import UploadedContent
from subscriptions.onboarding import add_customer
from tests.bench.seeding import seed

with audit.acting("test", reason="test", source="test"):
    acme = add_customer("acme", "Acme", start=date(2026, 1, 1))
    seed(acme, int(sys.argv[2]))
    with Path(sys.argv[1]).open("rb") as content:
        UploadedContent.objects.create(customer=acme, name="large.bin", file=File(content, name="large.bin"))
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "home")
    one.init()
    upload = tmp_path / "large.bin"
    with upload.open("wb") as file:
        for _ in range(UPLOAD_MIB):
            file.write(os.urandom(1024 * 1024))
    subprocess.run([sys.executable, "-c", SEED, str(upload), str(RECORDS)], cwd=PROJECT, env=one.environment, check=True)
    upload.unlink()
    return one


def peak_mib(home: Home, *arguments: str) -> float:
    return home.peak_bytes(*arguments) / 1024**2


def test_backup_and_restore_need_little_memory(home: Home, tmp_path: Path, postgresql_server: str) -> None:
    on_postgresql, on_sqlite = database_on(postgresql_server), Target(f"sqlite:///{tmp_path / 'out.sqlite3'}")
    peaks = {
        "backup": peak_mib(home, "backup", "acme"),
        "restore": peak_mib(home, "restore", "acme", "--to", str(tmp_path / "out")),
        "restore into PostgreSQL": peak_mib(home, "restore", "acme", "--to-database", on_postgresql.url),
        "restore into SQLite": peak_mib(home, "restore", "acme", "--to-database", on_sqlite.url),
        "restore of one item": peak_mib(home, "restore", "acme", "--only", "datarecord:P-7", "--to", str(tmp_path / "item")),
    }
    print("Peak memory:", ", ".join(f"{what} {peak:.0f} MiB" for what, peak in peaks.items()))
    assert all(peak < LIMIT_MIB for peak in peaks.values()), peaks
    with (tmp_path / "out/history/l2l_subscriptions.datarecord.ndjson").open("rb") as history:
        assert sum(1 for _ in history) == RECORDS
    for target in (on_postgresql, on_sqlite):
        assert target.select("SELECT count(*) FROM l2l_subscriptions_datarecord_history") == [(RECORDS,)]
