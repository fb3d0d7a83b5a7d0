"""A real process, killed with a real signal at any moment of a destruction: it is gone on with, ends the same, and nothing is called
destroyed before all is gone (P12)."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.both_databases import postgresql
from tests.home import PROJECT, Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

# So many at least, of one customer after the other; each within so many seconds after the process came to its work.
KILLS, WITHIN, RECORDS, FILES = 30, 0.25, 1000, 40
NEIGHBOUR, ENDING = "acme2", ("acme", "acme3", "acme4", "acme5", "acme6")

FILL = """
import audit
from django.core.files.base import ContentFile
from subscriptions.models import Customer, DataRecord, UploadedContent
with audit.acting("test", reason="MARK7f3a", source="test"):
    for code in %r:
        one = Customer.objects.get(code=code)
        DataRecord.objects.tracked_create(DataRecord(customer=one, kind="part", reference=f"{code} {n}", data={"n": n}) for n in range(%d))
        for n in range(%d):
            UploadedContent.objects.create(customer=one, name=f"{n}", file=ContentFile(b"the same" * (n + 1), name="x"))
""" % ((NEIGHBOUR, *ENDING), RECORDS, FILES)  # noqa: UP031
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
vault, then = vaults.from_settings(), vaults.clock() - timedelta(hours=80)
for code in %r:
    ending = Customer.objects.get(code=code)
    with audit.acting("una", reason="the end", source="test"):
        ending.account_manager = una
        ending.save()
        terms = ending.subscriptions.get()
        terms.end = (then - timedelta(days=3)).date()
        terms.save_terms()
    asked = requests.open_request(ending, by=una, why="it ended", now=then)
    asked = requests.waive(asked, by=una, document=ContentFile(b"no data please", name="waiver.pdf"), why="it wrote so", now=then)
    seen = planning.plan_of(vault, asked).digest
    planning.approve(vault, asked, seen=seen, by=vera, password="a long enough sentence", code=code, why="waived", now=then)
""" % (ENDING,)  # noqa: UP031
LOOK = """
from backups import vault as vaults
from backups.destroy import carrying_out
from subscriptions.models import Customer
only = [Customer.objects.get(code="CODE").pk]
print(carrying_out.look(vaults.from_settings(), vaults.clock(), only=only, progress=lambda line: print(line, flush=True)))
"""
# Asked of the database directly: a process that answers it costs as much as the kill.
STANDS = """
SELECT r.state, CAST(r.customer_id AS varchar(40)),
    (SELECT count(*) FROM l2l_audit_journalrow j WHERE j.stream_id = r.customer_id)
    + (SELECT count(*) FROM l2l_subscriptions_datarecord d WHERE d.customer_id = r.customer_id)
    + (SELECT count(*) FROM l2l_subscriptions_uploadedcontent u WHERE u.customer_id = r.customer_id),
    (SELECT count(*) FROM l2l_backups_destructionstep s WHERE s.request_id = r.id AND s.done_at IS NOT NULL),
    (SELECT count(*) FROM l2l_backups_destructionsweep w WHERE w.request_id = r.id AND w.clean),
    (SELECT count(*) FROM l2l_backups_certificate c WHERE c.request_id = r.id AND c.kind <> 'interim')
FROM l2l_subscriptions_deletionrequest r JOIN l2l_subscriptions_customer k ON k.id = r.customer_id WHERE k.code = 'CODE'
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        yield prepared(tmp_path, {"DATABASE_URL": url} if url else {})


def prepared(tmp_path: Path, settings: dict[str, str]) -> Home:
    home = Home(tmp_path / "home", settings)
    home.init("--sample")
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("a long enough sentence\n")
    for name, role in (("una", "account_manager"), ("vera", "receipt_approver")):
        home.manage("add_person", name, "--role", role, "--since", "2026-01-01", "--password-file", str(password))
    for code in (NEIGHBOUR, *ENDING):
        home.manage("add_customer", code, "--name", code, "--start", "2026-01-01")
    home.manage("shell", "-v", "0", "-c", FILL)
    home.manage("hotbackup", "--once")
    home.manage("backup")
    home.manage("shell", "-v", "0", "-c", APPROVE)
    return home


def started(home: Home, code: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROJECT / "manage.py"), "shell", "-v", "0", "-c", LOOK.replace("CODE", code)]
    return subprocess.Popen(command, env=home.environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Stands:
    """How far it is: rows that there still are, steps that are done, clean sweeps, statements that nothing is left."""

    state: str
    customer: str
    rows: int
    done: int
    swept: int
    certified: int


def stands_of(home: Home, code: str) -> Stands:
    url = home.settings.get("DATABASE_URL")
    with closing(psycopg.connect(url) if url else sqlite3.connect(home.folder / "l2l.sqlite3", timeout=60)) as connection:
        [(state, customer, *counts)] = connection.execute(STANDS.replace("CODE", code)).fetchall()
    return Stands(state, str(uuid.UUID(customer)), *counts)


def left_at_locations(home: Home, customer: str) -> list[str]:
    found = []
    for path in (home.folder / "locations").rglob("*"):
        name = str(path.relative_to(home.folder))
        if path.is_file() and "/ended/" not in name and (customer in name or f"{customer}.age".encode() in path.read_bytes()):
            found.append(name)
    return found


def killed_until_gone(home: Home, code: str, chosen: random.Random, seen: set[Any]) -> int:
    """How many processes were killed at work on it before one came to a clean sweep."""
    kills, within, before = 0, WITHIN, stands_of(home, code)
    while True:
        process = started(home, code)
        assert process.stdout is not None
        process.stdout.readline()  # it has come to its work
        time.sleep(chosen.random() * within)
        kills += process.poll() is None
        process.kill()
        process.communicate()
        stands = stands_of(home, code)
        seen.add((code, stands.done, stands.rows))
        within = WITHIN if stands != before else within * 1.5  # on a slow machine it gets nowhere else
        before = stands
        assert not stands.certified and stands.state in ("approved", "destroying")
        if stands.swept:
            assert not stands.rows and not left_at_locations(home, stands.customer)
            return kills


def test_killed_anywhere_it_goes_on_and_ends_the_same(home: Home, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chosen, seen, kills, ended = random.Random(seed), set[Any](), 0, []
    for code in ENDING:
        kills += killed_until_gone(home, code, chosen, seen)
        ended.append(code)
        if kills >= KILLS:
            break
    print(f"{kills} kills, {len(seen)} different moments, {len(ended)} customers")
    assert kills >= KILLS, "the processes were too quick: let fewer of them come to their end"
    for code in ended:
        home.manage("shell", "-v", "0", "-c", LOOK.replace("CODE", code))
        stands = stands_of(home, code)
        assert (stands.rows, stands.swept, stands.state) == (0, 1, "destroying"), stands
        assert left_at_locations(home, stands.customer) == []
        assert not (home.folder / "uploads" / "uploads" / stands.customer).exists()
        assert home.run("restore", code, "--to", str(tmp_path / "none")).returncode != 0
    assert home.json("verify_audit")["whole"]
    home.manage("restore", NEIGHBOUR, "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / "rows" / "l2l_subscriptions.datarecord.ndjson").read_bytes().count(b"\n") == RECORDS
    assert home.json("backup", NEIGHBOUR)[0]["protected"]
