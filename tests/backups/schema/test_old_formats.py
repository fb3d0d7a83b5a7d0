"""Sets of every format that the software ever wrote are read by today's code and by docs/read_set.py, for ever (docs/format.md).

`tests/backups/formats/<format>/` holds a location as the first commit that wrote that format left it, with its test key and what was in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyrage.x25519 import Identity

from backups import keyfiles, locations, manifest
from backups.choosing import customer_called
from backups.hot import forks, removed, sections, segments
from backups.keyfiles import KeyRing
from backups.locations import Named, Place
from backups.restore import restore
from backups.scratch.restoring import restore_into
from backups.stores.folder import FolderStore
from backups.vault import Vault
from tests.backups.targets import ENGINES, Target

FORMATS = Path(__file__).resolve().parent.parent / "formats"
READER = Path(__file__).resolve().parents[3] / "docs" / "read_set.py"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=sorted(path.name for path in FORMATS.iterdir()))
def kept(request: pytest.FixtureRequest) -> Path:
    return FORMATS / request.param


@pytest.fixture
def about(kept: Path) -> dict[str, Any]:
    return json.loads((kept / "about.json").read_text())


@pytest.fixture
def old_vault(kept: Path, about: dict[str, Any], tmp_path: Path, key_folder: Path, clock: Any) -> Vault:
    """That location alone, with its key, beside a database that knows nothing of it."""
    [row] = locations.sync_locations([Named("kept", str(kept / "location"), False)])
    master = Identity.from_str((kept / "test-key-master.txt").read_text().strip())
    vault = Vault(
        (Place(row, FolderStore(kept / "location")),),
        KeyRing(master, master.to_public()),
        keyfiles.signer(key_folder),
        tmp_path / "spool",
        clock,
    )
    vault.__dict__["fingerprint"] = about["fingerprint"]  # the kit's; the signing key itself is long gone
    return vault


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_format_has_a_set_kept_of_it() -> None:
    """Whoever raises a format number keeps one set of the format before, and its reader."""
    assert {path.name for path in FORMATS.iterdir()} == {str(number) for number in range(1, manifest.FORMAT + 1)}
    assert {one.FORMAT for one in (segments, sections, forks, removed)} == {1}, (
        "keep a segment of format 1 beside the sets, and read it here"
    )


def test_it_restores_to_a_folder(kept: Path, about: dict[str, Any], old_vault: Vault, tmp_path: Path, acting: Any) -> None:
    report = restore(old_vault, customer_called(about["customer"]), tmp_path / "out")
    assert report.good
    for what in ("rows", "history", "files"):
        assert files(tmp_path / "out" / what) == files(kept / "expected" / what)


@pytest.mark.parametrize("engine", ENGINES)
def test_it_restores_to_a_database(about: dict[str, Any], old_vault: Vault, target: Target, acting: Any) -> None:
    restore_into(old_vault, customer_called(about["customer"]), target.url)
    rows = target.select('SELECT reference, data FROM "l2l_subscriptions_datarecord" ORDER BY reference')
    assert [(reference, json.loads(data) if isinstance(data, str) else data) for reference, data in rows] == [
        ("P-0", {"Name": "Part 0", "Note": 'é "x"'}),
        ("P-1", {"Name": "Changed"}),
    ]
    [(name, speed)] = target.select('SELECT name, speed FROM "factory_line"')
    assert name == "Press 3" and float(speed) == 1.5


def test_the_stand_alone_reader_reads_it(kept: Path, about: dict[str, Any], tmp_path: Path) -> None:
    arguments = ["--master", kept / "test-key-master.txt", "--trust", about["fingerprint"], "--to", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, READER, kept / "location", about["customer"], *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for what, expected in (("rows", "rows"), ("history", "history"), ("contents", "files")):
        assert files(tmp_path / "out" / what) == files(kept / "expected" / expected)
