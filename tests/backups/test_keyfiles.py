"""Key files: made once, for the owner alone, whole or not at all; and the recovery kit opens what they locked."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pyrage
import pytest
from pyrage.x25519 import Identity

from audit.signing import Signer
from backups import keyfiles
from backups.errors import KeysMissing
from backups.keyfiles import KIT, key_ring, make_key_files, signer
from backups.sealing import StreamKey

SECRET_FILES = {"master.age", "escrow.recipient", "signing.key", "django-secret-key", "ring.json", KIT}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "keys"
    assert make_key_files(folder, "2026-03-01")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def kit_keys(folder: Path) -> list[str]:
    """The two master keys that are printed in the kit: online, escrow."""
    return re.findall(r"^AGE-SECRET-KEY-\S+$", (folder / KIT).read_text(), re.M)


def test_all_are_the_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_key_files(tmp_path / "keys", "2026-03-01")
    finally:
        os.umask(before)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == dict.fromkeys(SECRET_FILES, 0o600)


def test_a_second_run_replaces_nothing_and_writes_no_second_kit(made: Path) -> None:
    (made / KIT).unlink()  # as we ask people to
    before = contents(made)
    assert make_key_files(made, "2026-12-01") is False
    assert contents(made) == before


@pytest.mark.parametrize("written", range(5))
def test_a_run_cut_short_before_the_master_key_is_repeated_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """Whatever was written first, the kit that stays is the kit of the keys that stay."""
    write, left = keyfiles.write_once, written

    def write_some(path: Path, text: str) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        write(path, text)

    with monkeypatch.context() as cut, pytest.raises(KeyboardInterrupt):
        cut.setattr(keyfiles, "write_once", write_some)
        make_key_files(tmp_path / "keys", "2026-03-01")
    assert not (tmp_path / "keys/master.age").exists()
    assert make_key_files(tmp_path / "keys", "2026-03-01")
    assert_kit_fits(tmp_path / "keys")


def test_the_kit_holds_all_that_is_needed_without_this_machine(made: Path) -> None:
    assert_kit_fits(made)


def assert_kit_fits(folder: Path) -> None:
    ring, kit = key_ring(folder), (folder / KIT).read_text()
    customers = StreamKey.generate(1)
    wrapped = ring.wrap(customers.identity)
    online, escrow = kit_keys(folder)
    assert online == str(ring.master) == (folder / "master.age").read_text().strip()
    assert escrow not in "".join(text for name, text in contents(folder).items() if name != KIT)
    for key in (online, escrow):
        assert pyrage.decrypt(wrapped, [Identity.from_str(key)]).decode() == str(customers.identity)
    printed = Signer(bytes.fromhex(re.findall(r"^[0-9a-f]{64}$", kit, re.M)[0]))
    assert printed.fingerprint == signer(folder).fingerprint == re.findall(r"^[0-9a-f]{64}$", kit, re.M)[1]


def test_a_wrapped_key_opens_to_the_same_key(made: Path) -> None:
    key, ring = StreamKey.generate(4), key_ring(made)
    assert ring.unwrap(ring.wrap(key.identity)) == str(key.identity)
    assert str(key.identity).encode() not in ring.wrap(key.identity)


def test_another_installations_master_key_opens_nothing_and_the_kit_is_named(made: Path, tmp_path: Path) -> None:
    make_key_files(tmp_path / "other", "2026-03-01")
    wrapped = key_ring(made).wrap(StreamKey.generate(1).identity)
    with pytest.raises(KeysMissing, match="Use the key in the recovery kit"):
        key_ring(tmp_path / "other").unwrap(wrapped)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
@pytest.mark.parametrize("name", ["master.age", "signing.key"])
def test_a_key_that_others_can_read_is_refused_with_what_to_do(made: Path, name: str, mode: int) -> None:
    (made / name).chmod(mode)
    with pytest.raises(KeysMissing, match=rf"can be read by others.*chmod 600 .*{name}"):
        read_all(made)


def read_all(folder: Path) -> None:
    key_ring(folder)
    signer(folder)


@pytest.mark.parametrize("name", ["master.age", "escrow.recipient", "signing.key"])
def test_a_key_that_is_missing_is_named(made: Path, name: str) -> None:
    (made / name).unlink()
    with pytest.raises(KeysMissing, match=rf"{name} is missing\. On a new installation run 'manage.py init'"):
        read_all(made)


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b"\xff\xfe\x00", b"abcdef\n", b"AGE-SECRET-KEY-1QQQ\n"])
@pytest.mark.parametrize("name", ["master.age", "escrow.recipient", "signing.key"])
def test_a_damaged_key_is_said_and_none_of_it_is_shown(made: Path, name: str, damage: bytes) -> None:
    (made / name).write_bytes(damage)
    with pytest.raises(KeysMissing, match="recovery kit") as problem:
        read_all(made)
    assert "QQQ" not in str(problem.value) and "abcdef" not in str(problem.value)


def test_a_cut_key_is_damaged_not_another_key(made: Path) -> None:
    for name in ("master.age", "escrow.recipient", "signing.key"):
        whole = (made / name).read_text()
        (made / name).write_text(whole[: len(whole) // 2])
        with pytest.raises(KeysMissing, match="recovery kit"):
            read_all(made)
        (made / name).write_text(whole)


def test_what_is_printed_of_a_key_ring_shows_no_key(made: Path) -> None:
    assert kit_keys(made)[0] not in repr(key_ring(made))
