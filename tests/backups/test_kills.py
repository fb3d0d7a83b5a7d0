"""A real process, killed with a real signal, at any moment of a backup (design section 5)."""

from __future__ import annotations

import random
import shutil
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


def restored(home: Home, location: str, set_id: str, folder: Path) -> int:
    """Restores one set from one location alone; returns its number of rows."""
    document = home.json("restore", "acme", "--set", set_id, "--location", location, "--to", str(folder))
    shutil.rmtree(folder)
    return sum(count for name, count in document["rows"].items() if name.startswith("rows/"))


def test_twenty_kills_leave_nothing_that_claims_too_much(home: Home, tmp_path: Path) -> None:
    chosen = random.Random(7)
    began = time.monotonic()
    home.manage("backup", "acme")
    whole = time.monotonic() - began
    rows = restored(home, "offsite", "", tmp_path / "first")
    checked: set[tuple[str, str]] = set()
    for number in range(KILLS):
        write_sample(tmp_path / "content", seed=100 + number, size="large")
        home.manage("import_content", "acme", str(tmp_path / "content"))
        process = home.start("backup", "acme")
        time.sleep(0.5 + chosen.random() * whole)
        process.kill()
        process.communicate()
        for found in home.json("restore_points", "acme")["sets"]:
            for location in found["locations"]:
                if (found["set"], location) not in checked:
                    assert restored(home, location, found["set"], tmp_path / "out") >= rows // 2
                    checked.add((found["set"], location))
    final = home.json("backup", "acme")[0]
    assert final["protected"] and final["whole_at"] == ["primary", "offsite"]
    again = home.json("backup", "acme")[0]
    assert again["new_blobs"] == 0 and not again["notes"], again
    assert not list((home.folder / "spool").iterdir())
