"""The format is what docs/format.md says: a reader that shares no line with us opens our sets, and so do the programs age, zstd and jq."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile

from backups.choosing import At
from backups.restore import restore
from backups.vault import Vault
from subscriptions.models import Link, UploadedContent
from tests.backups.shipping import ship
from tests.backups.test_back_up import backed_up, fill, read
from tests.backups.test_moments import record

pytestmark = pytest.mark.django_db(transaction=True)

DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


@pytest.fixture
def kept(acme: Any, vault: Vault) -> Any:
    fill(acme)
    UploadedContent.objects.get(name="doc 2.bin").delete()
    backed_up(vault, acme)
    return acme


def read_set(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, DOCS / "read_set.py", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_stand_alone_reader_reads_what_restore_restores(
    kept: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path
) -> None:
    master = ["--master", key_folder / "master.age", "--trust", vault.fingerprint]
    done = read_set(folders["offsite"], kept.pk, *master, "--to", tmp_path / "by-hand")
    assert done.returncode == 0, done.stderr
    restore(vault, kept, tmp_path / "restored")
    for what in ("rows", "history"):
        for path in (tmp_path / "restored" / what).iterdir():
            assert (tmp_path / "by-hand" / what / path.name).read_bytes() == path.read_bytes()
    restored = {
        path.relative_to(tmp_path / "restored/files"): path.read_bytes()
        for path in (tmp_path / "restored/files").rglob("*")
        if path.is_file()
    }
    by_hand = {
        path.relative_to(tmp_path / "by-hand/contents"): path.read_bytes()
        for path in (tmp_path / "by-hand/contents").rglob("*")
        if path.is_file()
    }
    assert restored == by_hand and len(restored) == 6


@pytest.fixture
def shipped(kept: Any, vault: Vault) -> Any:
    """Content with a set, and changes behind it in two segments."""
    ship(vault)
    vault.clock.forward(days=1)  # type: ignore[attr-defined]
    backed_up(vault, kept)
    record(kept, "behind", note='",\n"row":')
    ship(vault)
    UploadedContent.objects.create(customer=kept, name="late.bin", file=ContentFile(b"late", name="x"))
    Link.objects.get(customer=kept, reference="a").delete()
    ship(vault)
    ship(vault)
    return kept


def history_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted((folder / "history").iterdir()) for row in read(path)]


def test_the_stand_alone_reader_reads_segments_too(
    shipped: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path
) -> None:
    master = ["--master", key_folder / "master.age", "--trust", vault.fingerprint]
    done = read_set(folders["offsite"], shipped.pk, *master, "--segments", "--to", tmp_path / "by-hand")
    assert done.returncode == 0, done.stderr
    assert "changes behind it: 3" in done.stdout
    restore(vault, shipped, tmp_path / "restored", at=At(None))
    changes = [change["row"] for change in read(tmp_path / "by-hand/changes.ndjson")]
    expected = history_of(tmp_path / "restored")
    assert sorted([*history_of(tmp_path / "by-hand"), *changes], key=str) == sorted(expected, key=str)
    late = UploadedContent.objects.get(name="late.bin").file.name
    assert (tmp_path / "by-hand/contents" / late).read_bytes() == (tmp_path / "restored/files" / late).read_bytes() == b"late"


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_the_stand_alone_reader_refuses_a_damaged_or_missing_segment(
    shipped: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path, damage: str
) -> None:
    path = sorted(folders["offsite"].rglob("hot/*/*.tar"))[1]
    data = path.read_bytes()
    path.unlink()
    if damage == "flipped":
        path.write_bytes(data[:2200] + bytes([data[2200] ^ 1]) + data[2201:])
    master = ["--master", key_folder / "master.age", "--trust", vault.fingerprint]
    done = read_set(folders["offsite"], shipped.pk, *master, "--segments", "--to", tmp_path / "out")
    assert done.returncode == 1 and ("segment 2 is missing" in done.stderr if damage == "missing" else "read_set:" in done.stderr)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not all(map(shutil.which, ("age", "zstd", "jq"))), reason="the programs age, zstd and jq are not all installed")
def test_the_recipe_for_segments_works_word_for_word(
    shipped: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path
) -> None:
    recipe = re.search(r"### A segment by hand.*?```sh\n(.*?)```", (DOCS / "format.md").read_text(), re.S)
    assert recipe
    place = folders["offsite"]
    key = f"age -d -i {key_folder / 'master.age'} keys/$C/1.age > customer.txt"
    done = subprocess.run(["bash", "-euc", f"C={shipped.pk}\n{key}\n{recipe[1]}"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    restore(vault, shipped, tmp_path / "restored", at=At(None))
    changes = read(place / "changes.ndjson")
    numbers = [row["number"] for row in read(tmp_path / "restored/journal/l2l_audit.journalrow.ndjson")]
    assert [change["number"] for change in changes] == sorted(numbers)
    assert sorted((change["row"] for change in changes), key=str) == sorted(history_of(tmp_path / "restored"), key=str)


@pytest.mark.parametrize("folder", ["blobs", "sets"])
def test_the_stand_alone_reader_refuses_a_flipped_byte(
    kept: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path, folder: str
) -> None:
    for path in (folders["offsite"] / "customers").rglob(f"{folder}/**/*"):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    done = read_set(
        folders["offsite"], kept.pk, "--master", key_folder / "master.age", "--trust", vault.fingerprint, "--to", tmp_path / "out"
    )
    assert done.returncode == 1 and done.stderr.startswith(("read_set:", "Traceback"))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(not all(map(shutil.which, ("age", "zstd", "jq"))), reason="the programs age, zstd and jq are not all installed")
def test_the_recipe_by_hand_works_word_for_word(
    kept: Any, vault: Vault, folders: dict[str, Path], key_folder: Path, tmp_path: Path
) -> None:
    recipe = re.search(r"## By hand.*?```sh\n(.*?)```", (DOCS / "format.md").read_text(), re.S)
    assert recipe
    place = folders["offsite"]
    shutil.copy(key_folder / "master.age", place / "master.txt")
    done = subprocess.run(["bash", "-euc", f"C={kept.pk}\n{recipe[1]}"], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout
    restore(vault, kept, tmp_path / "restored")
    expected = (tmp_path / "restored/rows/l2l_subscriptions.datarecord.ndjson").read_bytes()
    assert (place / "records.ndjson").read_bytes() == expected and expected
