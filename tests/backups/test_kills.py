"""A real process, killed with a real signal, at any moment of a backup (design section 5)."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest

from subscriptions.sample_content import write_sample
from tests.home import Home

pytestmark = pytest.mark.slow

KILLS = 20


@pytest.fixture
def home(tmp_path: Path) -> Home:
    one = Home(tmp_path / "home")
    one.manage("init")
    one.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    write_sample(tmp_path / "content", seed=1, size="large")
    one.manage("import_content", "acme", str(tmp_path / "content"))
    return one


RESTORE = """
import io, json, shutil
from contextlib import redirect_stdout
from django.core.management import call_command

def rows(set_id, location):
    said, folder = io.StringIO(), {folder!r}
    with redirect_stdout(said):
        call_command("restore", "acme", "--set", set_id, "--location", location, "--to", folder, "--json")
    shutil.rmtree(folder)
    return sum(count for name, count in json.loads(said.getvalue())["rows"].items() if name.startswith("rows/"))

print(json.dumps([rows(*one) for one in {sets!r}]))
"""


def restored(home: Home, sets: list[tuple[str, str]], folder: Path) -> list[int]:
    """Restores each of the sets from its location alone, in one process; returns their numbers of rows."""
    code = RESTORE.replace("{folder!r}", repr(str(folder))).replace("{sets!r}", repr(sets))
    return json.loads(home.manage("shell", "-v", "0", "-c", code)) if sets else []


def test_twenty_kills_leave_nothing_that_claims_too_much(home: Home, tmp_path: Path) -> None:
    chosen = random.Random(7)
    began = time.monotonic()
    home.manage("backup", "acme")
    whole = time.monotonic() - began
    [rows] = restored(home, [("", "offsite")], tmp_path / "first")
    checked: set[tuple[str, str]] = set()
    for number in range(KILLS):
        write_sample(tmp_path / "content", seed=100 + number, size="large")
        home.manage("import_content", "acme", str(tmp_path / "content"))
        process = home.start("backup", "acme")
        time.sleep(0.5 + chosen.random() * whole)
        process.kill()
        process.communicate()
        listed = {(found["set"], location) for found in home.json("restore_points", "acme")["sets"] for location in found["locations"]}
        fresh = sorted(listed - checked)
        assert all(count >= rows // 2 for count in restored(home, fresh, tmp_path / "out"))
        checked |= listed
    final = home.json("backup", "acme")[0]
    assert final["protected"] and final["whole_at"] == ["primary", "offsite"]
    again = home.json("backup", "acme")[0]
    assert again["new_blobs"] == 0 and not again["notes"], again
    assert not list((home.folder / "spool").iterdir())
