"""A real process, killed with a real signal at any moment of a destruction: it is gone on with, ends the same, and nothing is called
destroyed before all is gone (P12)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.both_databases import postgresql
from tests.home import PROJECT, Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

KILLS, RECORDS, FILES = 30, 2000, 60

FILL = """
import audit
from django.core.files.base import ContentFile
from subscriptions.models import Customer, DataRecord, UploadedContent
with audit.acting("test", reason="MARK7f3a", source="test"):
    for code in ("acme", "acme2"):
        one = Customer.objects.get(code=code)
        DataRecord.objects.tracked_create(DataRecord(customer=one, kind="part", reference=f"{code} {n}", data={"n": n}) for n in range(%d))
        for n in range(%d):
            UploadedContent.objects.create(customer=one, name=f"{n}", file=ContentFile(b"the same" * (n + 1), name="x"))
""" % (RECORDS, FILES)  # noqa: UP031
# The waived way to an approval; then the clock of the destroyer stands behind the cooling-off.
APPROVE = """
import audit
from datetime import timedelta
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from backups import vault as vaults
from backups.destroy import planning
from subscriptions.ending import requests
from subscriptions.models import Customer
una, vera = User.objects.get(username="una"), User.objects.get(username="vera")
acme, vault, then = Customer.objects.get(code="acme"), vaults.from_settings(), vaults.clock() - timedelta(hours=80)
with audit.acting("una", reason="the end", source="test"):
    acme.account_manager = una
    acme.save()
    terms = acme.subscriptions.get()
    terms.end = (then - timedelta(days=3)).date()
    terms.save_terms()
asked = requests.open_request(acme, by=una, why="it ended", now=then)
asked = requests.waive(asked, by=una, document=ContentFile(b"no data please", name="waiver.pdf"), why="it wrote so", now=then)
seen = planning.plan_of(vault, asked).digest
planning.approve(vault, asked, seen=seen, by=vera, password="a long enough sentence", code="acme", why="waived", now=then)
"""
LOOK = """
from backups import vault as vaults
from backups.destroy import carrying_out
print(carrying_out.look(vaults.from_settings(), vaults.clock()))
"""
STANDS = """{
    "rows": __import__("backups.destroy.inventory").destroy.inventory.in_database(
        __import__("subscriptions.models").models.Customer.objects.get(code="acme").pk).rows,
    "state": __import__("subscriptions.models").models.DeletionRequest.objects.get().state,
    "done": __import__("backups.models").models.DestructionStep.objects.exclude(done_at=None).count(),
    "swept": __import__("backups.models").models.DestructionSweep.objects.filter(clean=True).count(),
    "id": str(__import__("subscriptions.models").models.Customer.objects.get(code="acme").pk),
}""".replace("\n", " ")


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        yield prepared(tmp_path, {"DATABASE_URL": url} if url else {})


def prepared(tmp_path: Path, settings: dict[str, str]) -> Home:
    home = Home(tmp_path / "home", settings)
    home.manage("init", "--sample")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a long enough sentence\n")
    for name, role in (("una", "account_manager"), ("vera", "receipt_approver")):
        home.manage("add_person", name, "--role", role, "--since", "2026-01-01", "--password-file", str(password))
    for code in ("acme", "acme2"):
        home.manage("add_customer", code, "--name", code, "--start", "2026-01-01")
    home.manage("shell", "-v", "0", "-c", FILL)
    home.manage("hotbackup", "--once")
    home.manage("backup")
    home.manage("shell", "-v", "0", "-c", APPROVE)
    return home


def started(home: Home) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROJECT / "manage.py"), "shell", "-v", "0", "-c", LOOK]
    return subprocess.Popen(command, env=home.environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def left_at_locations(home: Home, customer: str) -> list[str]:
    found = []
    for path in (home.folder / "locations").rglob("*"):
        name = str(path.relative_to(home.folder))
        if path.is_file() and "/ended/" not in name and (customer in name or f"{customer}.age".encode() in path.read_bytes()):
            found.append(name)
    return found


def test_killed_anywhere_it_goes_on_and_ends_the_same(home: Home, tmp_path: Path) -> None:
    began = time.monotonic()
    home.ask("1")
    begins = time.monotonic() - began  # as long as a process takes to come to its work
    seen: set[Any] = set()
    for number in range(KILLS):
        process = started(home)
        time.sleep(begins * 0.7 + 0.04 * number)
        process.kill()
        process.communicate()
        stands = home.ask(STANDS)
        seen.add((stands["done"], stands["rows"]))
        if stands["swept"]:
            assert not stands["rows"] and not left_at_locations(home, stands["id"])
            break
        assert stands["state"] in ("approved", "destroying")
    home.manage("shell", "-v", "0", "-c", LOOK)
    stands = home.ask(STANDS)
    assert (stands["rows"], stands["swept"], stands["state"]) == (0, 1, "destroying"), stands
    assert left_at_locations(home, stands["id"]) == [] and len(seen) > 1
    assert not (home.folder / "uploads" / "uploads" / stands["id"]).exists()
    assert home.json("verify_audit")["whole"]
    home.manage("restore", "acme2", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / "rows" / "l2l_subscriptions.datarecord.ndjson").read_bytes().count(b"\n") == RECORDS
    assert home.json("backup", "acme2")[0]["protected"]
    assert home.run("restore", "acme", "--to", str(tmp_path / "none")).returncode != 0
