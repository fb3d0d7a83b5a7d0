"""The recovery kit is read as it was written, and as people type it; nothing wrong is put in the place of a key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from backups import keyfiles
from backups.errors import KeysMissing
from backups.recovery_kit import kit_of, put_back_key_files, read_kit

NAMES = ("master.age", "escrow.recipient", "signing.key")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    keyfiles.make_key_files(tmp_path / "keys", "2026-03-04")
    return tmp_path / "keys"


def test_the_key_files_come_back_as_they_were(made: Path, tmp_path: Path) -> None:
    put_back_key_files(tmp_path / "new", read_kit(made / keyfiles.KIT))
    for name in NAMES:
        assert (tmp_path / "new" / name).read_text() == (made / name).read_text()
        assert stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) == 0o600
    put_back_key_files(tmp_path / "new", read_kit(made / keyfiles.KIT))  # and again


def test_typed_with_other_white_space_it_is_the_same_kit(made: Path) -> None:
    text = (made / keyfiles.KIT).read_text()
    assert kit_of("\n\n".join(f"   {line}  \r" for line in text.splitlines()), "typed").signing == read_kit(made / keyfiles.KIT).signing


def test_without_the_online_master_the_escrow_key_opens(made: Path, tmp_path: Path) -> None:
    text = (made / keyfiles.KIT).read_text()
    master = (made / "master.age").read_text().strip()
    kit = kit_of(text.replace(master, "").replace(f"Master key (online; also in {made}/master.age)", ""), "typed")
    assert len(kit.opens) == 1
    wrapped = keyfiles.key_ring(made).wrap(stream := keyfiles.Identity.generate())
    put_back_key_files(tmp_path / "new", kit)
    assert keyfiles.key_ring(tmp_path / "new").unwrap(wrapped) == str(stream)


def test_other_keys_are_never_replaced(made: Path, tmp_path: Path) -> None:
    keyfiles.make_key_files(tmp_path / "other", "2026-03-04")
    before = {name: (tmp_path / "other" / name).read_text() for name in NAMES}
    with pytest.raises(KeysMissing, match="holds other keys than the kit"):
        put_back_key_files(tmp_path / "other", read_kit(made / keyfiles.KIT))
    assert {name: (tmp_path / "other" / name).read_text() for name in NAMES} == before


@pytest.mark.parametrize("title", ["Master key", "Escrow key", "Signing key ("])
def test_a_letter_typed_wrong_is_told_and_no_key_quoted(made: Path, title: str) -> None:
    lines = (made / keyfiles.KIT).read_text().splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(title)) + 1
    right = lines[at]
    lines[at] = right[:20] + ("0" if right[20] != "0" else "1") + right[21:]
    with pytest.raises(KeysMissing, match="Compare") as told:
        kit_of("\n".join(lines), "typed")
    assert right[5:] not in str(told.value) and lines[at][5:] not in str(told.value)


def test_a_kit_without_what_is_needed_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(KeysMissing, match="neither a master key nor an escrow key"):
        kit_of("RECOVERY KIT\n", "typed")
    with pytest.raises(KeysMissing, match="cannot be read"):
        read_kit(tmp_path / "nowhere.txt")
