"""A real process, killed with a real signal at any moment of a live restore, on both databases: the old state or the new one, never a
customer that stays frozen (P5, P14)."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.both_databases import postgresql
from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

PATIENCE = 300.0
KILLS_A_ROUND = 2
# So often it must be struck while the customer is frozen; a busy machine may let some strikes come too late.
STRUCK, MOST_ROUNDS = 2, 6

FILL = """
import audit
from subscriptions.models import Customer, DataRecord
with audit.acting("test", reason="a test", source="test"):
    acme = Customer.objects.get(code="struck")
    DataRecord.objects.tracked_create(
        DataRecord(customer=acme, kind="part", reference=str(n), data={"Note": "x" * 200, "n": n}) for n in range(6000)
    )
"""
DAMAGE = """
import audit
from subscriptions.models import Customer, DataRecord
with audit.acting("test", reason="a test", source="test"):
    acme, rows = Customer.objects.get(code="struck"), DataRecord.objects.filter(customer__code="struck")
    rows.filter(pk__in=list(rows.order_by("pk").values_list("pk", flat=True)[:2000])).tracked_delete()
    rows.filter(pk__in=list(rows.order_by("-pk").values_list("pk", flat=True)[:2000])).tracked_change(data={"wrong": True})
    DataRecord.objects.tracked_create(DataRecord(customer=acme, kind="part", reference=f"new {n}") for n in range(1000))
"""
# What stands, then what stands after the worker's next look.
STANDS = """
import hashlib, json
from audit import rows
from audit.models import Stream
from backups import tasks
from backups.models import LiveRestore, LiveRestoreRequest
from subscriptions.models import DataRecord
sha256 = hashlib.sha256()
for row in DataRecord.objects.filter(customer__code="struck").order_by("pk"):
    sha256.update(rows.instance_json(row).encode())
def stands():
    asked = LiveRestoreRequest.objects.order_by("-pk").first()
    row = LiveRestore.objects.filter(pk=asked.pk).first() if asked else None
    return {"digest": sha256.hexdigest(), "frozen": Stream.objects.get(name="struck").frozen_reason,
        "request": asked and asked.state, "carrying_out": row and row.state, "trouble": row and row.trouble}
found = [stands()]
tasks.look()
print(json.dumps([*found, stands()]))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        one = Home(tmp_path / "home", {"DATABASE_URL": url} if url else {})
        one.init("--sample")
        for name, role in (("una", "backup_operator"), ("vera", "receipt_approver")):
            one.manage("add_person", name, "--role", role, "--since", "2026-01-01", "--password-file", str(password(tmp_path)))
        one.manage("add_customer", "struck", "--name", "Acme", "--start", "2026-01-01")
        shell(one, FILL)
        one.manage("backup", "struck")
        yield one


def password(folder: Path) -> Path:
    path = folder / "password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text("a long enough sentence\n")
    return path


def shell(home: Home, code: str) -> str:
    return home.manage("shell", "-v", "0", "-c", code)


def stands(home: Home) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shell(home, STANDS))
    return found


def as_(name: str, folder: Path) -> tuple[str, ...]:
    return ("--as", name, "--password-file", str(password(folder)))


def frozen_now(home: Home) -> bool:
    """Asked of the database directly, for it is short."""
    url = home.settings.get("DATABASE_URL")
    with closing(psycopg.connect(url) if url else sqlite3.connect(home.folder / "l2l.sqlite3")) as connection:
        return bool(connection.execute("SELECT 1 FROM l2l_audit_stream WHERE name = 'struck' AND frozen_at IS NOT NULL").fetchall())


def struck(home: Home, process: subprocess.Popen[str], after: float) -> None:
    """Kills it so long after it froze the customer, or lets it end."""
    give_up = time.monotonic() + PATIENCE
    while process.poll() is None and not frozen_now(home):
        assert time.monotonic() < give_up
        time.sleep(0.005)
    time.sleep(after)
    process.kill()
    process.communicate()


def approve(home: Home, ident: str, folder: Path) -> subprocess.Popen[str]:
    return home.start("restore_live", "approve", ident, *as_("vera", folder))


def carry_out(home: Home, ident: str) -> subprocess.Popen[str]:
    """As the queue's worker does."""
    return home.start("shell", "-v", "0", "-c", f"from backups import tasks; tasks.restore_live({ident})")


def asked(home: Home, folder: Path) -> str:
    shell(home, DAMAGE)
    return str(home.json("restore_live", "ask", "struck", "--reason", "a bad import", *as_("una", folder))["request"])


def seconds_frozen(home: Home, folder: Path) -> float:
    """Of a restore that nobody strikes."""
    process = approve(home, asked(home, folder), folder)
    while not frozen_now(home):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    began = time.monotonic()
    ended_well(process)
    return time.monotonic() - began


def ended_well(process: subprocess.Popen[str]) -> None:
    said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said


def test_killed_at_any_moment_it_leaves_the_old_state_or_the_new(home: Home, tmp_path: Path) -> None:
    chosen, good, seen = random.Random(11), stands(home)[0]["digest"], []
    whole = seconds_frozen(home, tmp_path)
    assert stands(home)[0]["digest"] == good
    for _ in range(MOST_ROUNDS):
        if seen.count(("approved", True)) >= STRUCK:
            break
        ident = asked(home, tmp_path)
        old, process = stands(home)[0]["digest"], approve(home, ident, tmp_path)
        for _ in range(KILLS_A_ROUND):
            struck(home, process, chosen.random() * whole)
            found, looked = stands(home)
            seen.append((found["request"], bool(found["frozen"])))
            assert found["digest"] == (good if found["request"] == "executed" else old), found
            assert not (found["frozen"] and found["request"] == "executed"), found
            assert not looked["frozen"] and looked["carrying_out"] != "running", looked
            process = carry_out(home, ident)
            if found["request"] == "executed":
                break
        ended_well(process)
        final, _ = stands(home)
        assert (final["digest"], final["request"], final["frozen"], final["carrying_out"]) == (good, "executed", "", "done"), final
    assert seen.count(("approved", True)) >= STRUCK, seen
