"""A real process, killed with a real signal at any moment of a purge, on both databases: each item is whole or gone, and the next
one goes on (P9)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.backups.targets import Target
from tests.both_databases import postgresql
from tests.home import Home, in_turns

pytestmark = [pytest.mark.slow, pytest.mark.waiting]

MOST_KILLS, RECORDS, FILES = 12, 4000, 120

FILL = """
import audit
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from subscriptions.models import Customer, DataRecord, UploadedContent
with audit.acting("test", reason="MARK7f3a", source="test"):
    acme = Customer.objects.get(code="struck")
    acme.account_manager = User.objects.get(username="una")
    acme.save()
    DataRecord.objects.tracked_create(
        DataRecord(customer=acme, kind="part", reference=f"MARK7f3a {n}", data={"n": n}) for n in range(%d)
    )
    for n in range(%d):
        UploadedContent.objects.create(customer=acme, name=f"MARK7f3a {n}", file=ContentFile(b"MARK7f3a" * n, name="x"))
""" % (RECORDS, FILES)  # noqa: UP031
KEEP = """
import audit
from subscriptions.models import Customer, DataRecord
with audit.acting("test", reason="kept", source="test"):
    DataRecord.objects.create(customer=Customer.objects.get(code="struck"), kind="part", reference="kept")
"""
STANDS = """{
    "live": __import__("subscriptions.models").models.DataRecord.objects.filter(customer__code="struck").count()
        + __import__("subscriptions.models").models.UploadedContent.objects.filter(customer__code="struck").count(),
    "salted": __import__("audit.models").models.JournalRow.objects.filter(stream__name="struck", salt__isnull=False).count(),
    "parts": __import__("backups.models").models.Purge.objects.count(),
    "unfinished": __import__("backups.models").models.Purge.objects.filter(finished_at=None).count(),
    "state": __import__("backups.models").models.PurgeRequest.objects.get().state,
}"""


def password(folder: Path) -> Path:
    path = folder / "password"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text("a long enough sentence\n")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """A customer with a set, all shipped, and a purge that is approved."""
    with nullcontext("") if request.param == "sqlite" else postgresql() as url:
        yield prepared(tmp_path, {"DATABASE_URL": url} if url else {})


def prepared(tmp_path: Path, settings: dict[str, str]) -> Home:
    one, then = Home(tmp_path / "home", settings), Home(tmp_path / "home", settings | {"L2L_NOW": "2004-02-29T12:00:00+00:00"})
    one.init("--sample")
    for name, role in (("una", "account_manager"), ("vera", "receipt_approver")):
        one.manage("add_person", name, "--role", role, "--since", "2026-01-01", "--password-file", str(password(tmp_path)))
    one.manage("add_customer", "struck", "--name", "Acme", "--start", "2001-01-01")
    then.manage("shell", "-v", "0", "-c", FILL)
    one.manage("shell", "-v", "0", "-c", KEEP)
    one.manage("hotbackup", "--once")
    one.manage("backup", "struck")
    by = ("--password-file", str(password(tmp_path)), "--as")
    asked = json.loads(one.manage("purge", "struck", "--ask", "standard", "--reason", "over", *by, "una", "--json"))
    one.manage("purge", "--approve", str(asked["request"]), *by, "vera")
    return one


def uploads(home: Home) -> int:
    return sum(b"MARK7f3a" in path.read_bytes() for path in (home.folder / "uploads").rglob("*") if path.is_file())


def parts(home: Home) -> int:
    """How many have begun, seen without any of our code."""
    url = home.settings.get("DATABASE_URL", f"sqlite:///{home.folder}/l2l.sqlite3")
    return int(Target(url).select("SELECT count(*) FROM l2l_backups_purge")[0][0])


def check(home: Home) -> Any:
    found = home.ask(STANDS.replace("\n", " "))
    assert found["live"] == found["salted"]  # an item is whole, or gone
    assert home.json("verify_audit")["whole"]
    return found


def test_killed_anywhere_it_goes_on(home: Home, tmp_path: Path) -> None:
    assert check(home)["live"] == RECORDS + FILES + 1 and uploads(home) == FILES - 1  # the first file is empty
    seen = set()
    for number in range(MOST_KILLS):  # first when a part has gone; then later and later, by how long a process takes to begin now
        began = time.monotonic()
        home.manage("purge", "struck")
        process = home.start("purge", "--apply")
        if number == 0:
            assert in_turns(process, lambda: parts(home) > 0), process.communicate()
        else:
            time.sleep((time.monotonic() - began) * (0.7 + 0.1 * number))
        process.kill()
        process.communicate()
        found = check(home)
        seen.add(found["parts"])
        if found["state"] == "executed":
            break
    home.manage("purge", "--apply")
    found = check(home)
    seen.add(found["parts"])
    assert (found["live"], found["salted"], found["unfinished"], found["state"]) == (1, 1, 0, "executed")
    assert uploads(home) == 0 and len(seen) > 1
    home.manage("restore", "struck", "--to", str(tmp_path / "out"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and b"MARK7f3a" in path.read_bytes()]
    assert home.json("backup", "struck")[0]["protected"]
