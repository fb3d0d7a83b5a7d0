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
    one.init()
    one.manage("add_customer", "acme", "--name", "Acme", "--start", "2026-01-01")
    write_sample(tmp_path / "content", seed=1, size="large")
    one.manage("import_content", "acme", str(tmp_path / "content"))
    return one


LOOK = """
import io, json, shutil
from contextlib import redirect_stdout
from django.core.management import call_command

def said(*arguments):
    text = io.StringIO()
    with redirect_stdout(text):
        call_command(*arguments, "--json")
    return json.loads(text.getvalue())

def rows(set_id, location):
    found = said("restore", "acme", "--set", set_id, "--location", location, "--to", {folder!r})
    shutil.rmtree({folder!r})
    return sum(count for name, count in found["rows"].items() if name.startswith("rows/"))

listed = [(one["set"], location) for one in said("restore_points", "acme")["sets"] for location in one["locations"]]
print(json.dumps([(*one, rows(*one)) for one in listed if one not in {known!r}]))
"""


def restored(home: Home, known: set[tuple[str, str]], folder: Path) -> dict[tuple[str, str], int]:
    """Restores each set that is listed and not known, from each location that is named for it; returns their numbers of rows. In one
    process: that of a start is most of the time that it takes."""
    code = LOOK.replace("{folder!r}", repr(str(folder))).replace("{known!r}", repr(known))
    return {(one, location): count for one, location, count in json.loads(home.manage("shell", "-v", "0", "-c", code))}


def test_twenty_kills_leave_nothing_that_claims_too_much(home: Home, tmp_path: Path) -> None:
    chosen = random.Random(7)
    began = time.monotonic()
    home.manage("backup", "acme")
    whole = time.monotonic() - began
    first = restored(home, set(), tmp_path / "out")
    assert {location for _, location in first} == {"primary", "offsite"} and len(set(first.values())) == 1
    checked, [rows, *_] = set(first), first.values()
    for number in range(KILLS):
        write_sample(tmp_path / "content", seed=100 + number, size="large")
        home.manage("import_content", "acme", str(tmp_path / "content"))
        process = home.start("backup", "acme")
        time.sleep(0.5 + chosen.random() * whole)
        process.kill()
        process.communicate()
        fresh = restored(home, checked, tmp_path / "out")
        assert all(count >= rows // 2 for count in fresh.values())
        checked |= set(fresh)
    final = home.json("backup", "acme")[0]
    assert final["protected"] and final["whole_at"] == ["primary", "offsite"]
    again = home.json("backup", "acme")[0]
    assert again["new_blobs"] == 0 and not again["notes"], again
    assert not list((home.folder / "spool").iterdir())
