"""Real processes: a rotation that is killed again and again while a shipper leads and customers come; every key opens, nothing waits."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage
import pytest
from pyrage.x25519 import Identity

from tests.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

CUSTOMERS, KILLS = 30, 3
ADD = """
import audit
from datetime import date
from subscriptions.models import DataRecord
from subscriptions.onboarding import add_customer
with audit.acting("test", reason="a test", source="test"):
    for n in range(%d, %d):
        customer = add_customer(f"customer-{n}", f"Customer {n}", start=date(2026, 1, 1))
        DataRecord.objects.create(customer=customer, kind="own", reference="first", data={"n": n})
"""
STATE = '__import__("backups.models").models.KeyChangeRequest.objects.get().state'
NEXT_STEP = {"requested": "approve", "approved": "carry-out"}


@contextmanager
def shipping(home: Home) -> Iterator[None]:
    process = home.start("hotbackup", said=home.folder / "said")
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def wrapped(home: Home) -> dict[str, bytes]:
    return {
        f"{name}:{path.relative_to(home.location(name))}": path.read_bytes()
        for name in ("primary", "offsite")
        for path in home.location(name).glob("keys/*/*.age")
    }


def add(home: Home, first: int, last: int) -> None:
    home.manage("shell", "-v", "0", "-c", ADD % (first, last))


def opens(identity: Identity, data: bytes) -> bool:
    try:
        return bool(pyrage.decrypt(data, [identity]))
    except pyrage.DecryptError:
        return False


def test_a_rotation_killed_again_and_again_beside_a_shipper(tmp_path: Path) -> None:
    home, secret = Home(tmp_path / "home"), tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("a long enough sentence\n")
    home.init("--sample")
    for name, role in (("una", "backup_operator"), ("vera", "receipt_approver")):
        home.manage("add_person", name, "--role", role, "--since", "2026-01-01", "--password-file", str(secret))
    add(home, 0, CUSTOMERS)
    home.manage("hotbackup", "--once")
    master, escrow = map(Identity.from_str, re.findall(r"^AGE-SECRET-KEY-\S+$", (home.folder / "keys/recovery-kit.txt").read_text(), re.M))
    before = wrapped(home)
    assert len(before) >= 2 * CUSTOMERS and all(opens(master, data) for data in before.values())

    by = ("--password-file", str(secret), "--as")
    asked = str(json.loads(home.manage("keys", "rotate-master", "--reason", "a test", *by, "una", "--json"))["request"])
    began = time.monotonic()
    home.manage("keys", "list")
    starts_in = time.monotonic() - began
    with shipping(home):
        for number in range(KILLS):  # later and later; a little of it is done each time
            step = NEXT_STEP.get(home.ask(STATE), "wrap")
            process = home.start("keys", step, *((asked, *by, "vera") if step != "wrap" else ()))
            time.sleep(starts_in * (0.7 + 0.2 * number))
            process.kill()
            process.communicate()
            assert all(opens(escrow, data) for data in wrapped(home).values())
        add(home, CUSTOMERS, CUSTOMERS + 1)
        while (state := home.ask(STATE)) in NEXT_STEP:
            home.manage("keys", NEXT_STEP[state], asked, *by, "vera")
        home.manage("keys", "wrap")
        add(home, 900, 901)
    home.manage("hotbackup", "--once")
    home.manage("keys", "remove-former")

    new = Identity.from_str((home.folder / "keys/master.age").read_text().strip())
    after = wrapped(home)
    assert all(re.search(r"/1-2\.age$", name) for name in after) and len(after) == len(before) + 2 * 2
    assert all(opens(new, data) and opens(escrow, data) and not opens(master, data) for data in after.values())
    assert home.run("keys", "list", "--read", "--json").returncode == 0
    home.manage("backup", "customer-1", "customer-900")
    home.manage("restore", "customer-1", "--at", "now", "--to", str(tmp_path / "out"))
    assert '"first"' in (tmp_path / "out/rows/l2l_subscriptions.datarecord.ndjson").read_text()
