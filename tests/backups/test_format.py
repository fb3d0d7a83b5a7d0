"""The format is what docs/format.md says: a reader that shares no line with us opens our sets, and so do the programs age, zstd and jq."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backups.restore import restore
from backups.vault import Vault
from subscriptions.models import UploadedContent
from tests.backups.test_back_up import backed_up, fill

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
