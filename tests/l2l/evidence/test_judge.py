"""An auditor answers from the pack alone, offline: with zip, verifier and fingerprint, in a process without a database (P13)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from l2l.evidence import verify_evidence
from tests.l2l.evidence.conftest import MARK, SEED, Pack

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.slow,
    pytest.mark.promise("P13"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. .function ServerCursorMixin:pytest.PytestUnraisableExceptionWarning"),
]


def verified(pack: Pack, folder: Path, *options: str, data: bytes = b"", fingerprint: str = "") -> tuple[int, Any]:
    """In an empty folder, without anything of the back office in reach."""
    folder.mkdir(exist_ok=True)
    (folder / "verify_evidence.py").write_bytes(opened(pack).read("verify_evidence.py"))
    (folder / "pack.zip").write_bytes(data or pack.data)
    done = subprocess.run(
        [sys.executable, "-I", "verify_evidence.py", "pack.zip", "--fingerprint", fingerprint or pack.fingerprint, "--json", *options],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def opened(pack: Pack) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(pack.data))


def test_the_auditors_questions_are_answered_from_the_pack_alone(pack: Pack, tmp_path: Path) -> None:
    status, said = verified(pack, tmp_path / "auditor", "--questions")
    assert (said["wrong"], said["unreconciled"], status) == ([], [], 0)
    backed_up, tested, kept, destroyed = said["questions"]
    assert f"acme2, night of {pack.missed}: missed (missed after 0 attempts)" in backed_up["exceptions"]
    assert any(one.startswith(f"acme2, night of {pack.late}: late") for one in backed_up["exceptions"])
    assert "2 filled, 2 late" in backed_up["answer"], "acme2 and the system, each one night"
    assert [one for one in tested["exceptions"] if f"test {pack.failed} " in one]
    assert "3 tests were made, 1 failed, 1 are not signed off" in tested["answer"]
    assert (destroyed["exceptions"], destroyed["answer"]) == ([], "Ends of customers: 1 destroyed.")
    assert kept["exceptions"] == []


def test_nothing_of_a_customers_content_is_in_it(pack: Pack) -> None:
    zipped = opened(pack)
    assert [name for name in zipped.namelist() if MARK.encode() in zipped.read(name)] == []


def test_what_was_drawn_is_there_with_its_evidence(pack: Pack) -> None:
    zipped = opened(pack)
    names = zipped.namelist()
    assert json.loads(zipped.read("populations/terminations.json"))["sample"] == [str(pack.ended)]
    folder = f"sample/terminations/{pack.ended}"
    for wanted in (f"{folder}/end.json", f"{folder}/certificate-", "sample/test_restores/"):
        assert [name for name in names if name.startswith(wanted)], wanted
    assert [name for name in names if name.startswith(f"{folder}/certificate-") and name.endswith(".pdf")]
    rows = csv.DictReader(io.StringIO(zipped.read("populations/nights.csv").decode()))
    drawn = [row for row in rows if row["key"] in json.loads(zipped.read("populations/nights.json"))["sample"]]
    for row in drawn:
        assert f"sample/nights/{verify_evidence.folder_name(row['key'])}/run.json" in names
        envelope = f"sample/nights/{verify_evidence.folder_name(row['key'])}/set-envelope.json"
        assert (envelope in names) == bool(row["set"])


def test_the_same_seed_draws_the_same_by_hand(pack: Pack) -> None:
    zipped = opened(pack)
    keys = [line.split(",")[0] for line in zipped.read("populations/nights.csv").decode().splitlines()[1:]]
    by_hand = sorted(keys, key=lambda key: hashlib.sha256(f"{SEED}/nights/{key}".encode()).hexdigest())
    assert json.loads(zipped.read("populations/nights.json"))["sample"] == by_hand[:2]


def test_one_changed_byte_anywhere_is_found(pack: Pack) -> None:
    """In each header, at each place of the end, and in a thousand other places."""
    zipped, dice = opened(pack), random.Random(7)
    headers = [info.header_offset + shift for info in zipped.infolist() for shift in (0, 4, 6, 8, 10, 14, 18, 22, 26, 28, 30)]
    length, tail = len(pack.data), range(zipped.start_dir, len(pack.data))
    places = {*headers, *dice.sample(tail, 300), *range(length - 22, length), *dice.sample(range(length), 700)}
    manifest = zipped.getinfo("manifest.json").header_offset
    places |= set(dice.sample(range(manifest, zipped.start_dir), 300))
    unfound = [place for place in sorted(places) if not _is_found(pack, place, 1 << dice.randrange(8))]
    assert unfound == []


def _is_found(pack: Pack, place: int, bit: int) -> bool:
    data = bytearray(pack.data)
    data[place] ^= bit
    try:
        verify_evidence.Pack(io.BytesIO(data), pack.fingerprint)
    except verify_evidence.NotGenuine:
        return True
    return False


@pytest.mark.parametrize("harm", ["appended", "prepended", "cut"])
def test_nothing_can_be_added_or_taken(pack: Pack, tmp_path: Path, harm: str) -> None:
    harmed = {"appended": pack.data + b"x", "prepended": b"x" + pack.data, "cut": pack.data[:-1]}[harm]
    status, said = verified(pack, tmp_path / "auditor", data=harmed)
    assert (status, said["genuine"]) == (1, False)


def test_another_key_is_not_trusted(pack: Pack, tmp_path: Path) -> None:
    status, said = verified(pack, tmp_path / "auditor", fingerprint="0" * 64)
    assert status == 1
    assert "not the key that you trust" in said["wrong"][0]
