"""Sealed bytes open to what went in, with the right key, within the limit, whole, or not at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from backups.placing import sha256_of
from backups.sealing import NotOpened, StreamKey, seal, unseal

KEY = StreamKey.generate(1)
PLAIN = b"one row\nanother row\n"
SEALED = seal(PLAIN, KEY.recipient)

needs_age_and_zstd = pytest.mark.skipif(
    not (shutil.which("age") and shutil.which("zstd")), reason="the programs age and zstd are not both installed"
)


def opened(data: bytes, limit: int = 1000) -> bytes:
    return unseal(data, KEY.identity, limit=limit)


@given(st.binary(max_size=5000))
def test_what_is_sealed_opens(plain: bytes) -> None:
    sealed = seal(plain, KEY.recipient)
    assert unseal(sealed.data, KEY.identity, limit=len(plain)) == plain
    assert (sealed.sha256, sealed.plain_size) == (sha256_of(sealed.data), len(plain))


def test_the_same_content_is_never_sealed_to_the_same_bytes() -> None:
    assert seal(PLAIN, KEY.recipient).data != SEALED.data
    assert PLAIN[:7] not in SEALED.data


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_a_flipped_bit_anywhere_is_refused(bit: int) -> None:
    for at in range(len(SEALED.data)):
        damaged = bytearray(SEALED.data)
        damaged[at] ^= bit
        with pytest.raises(NotOpened):
            opened(bytes(damaged))


def test_what_was_cut_short_anywhere_is_refused() -> None:
    for length in range(len(SEALED.data)):
        with pytest.raises(NotOpened):
            opened(SEALED.data[:length])


def test_what_something_was_appended_to_is_refused() -> None:
    with pytest.raises(NotOpened):
        opened(SEALED.data + b"\0")


def test_another_customers_key_does_not_open_it() -> None:
    with pytest.raises(NotOpened, match="No matching keys"):
        unseal(SEALED.data, StreamKey.generate(1).identity, limit=1000)


def test_a_key_comes_back_from_its_text() -> None:
    again = StreamKey.of_text(7, str(KEY.identity))
    assert again.number == 7
    assert unseal(SEALED.data, again.identity, limit=1000) == PLAIN


def test_more_than_the_limit_is_refused_before_it_is_unpacked() -> None:
    bomb = seal(bytes(64 * 1024 * 1024), KEY.recipient)
    assert len(bomb.data) < 10_000
    with pytest.raises(NotOpened, match="claims 67108864 bytes; at most 1000"):
        opened(bomb.data)
    assert opened(SEALED.data, limit=len(PLAIN)) == PLAIN
    with pytest.raises(NotOpened, match="at most 19 are expected"):
        opened(SEALED.data, limit=len(PLAIN) - 1)


def test_a_bomb_that_hides_its_size_is_refused() -> None:
    packer = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    compressed = packer.compress(bytes(10_000_000)) + packer.flush()
    with pytest.raises(NotOpened, match="claims -1 bytes"):
        opened(pyrage.encrypt(compressed, [KEY.recipient]))


@pytest.mark.parametrize("inside", [b"", b"no zstd frame", zstandard.compress(PLAIN)[:-1]])
def test_an_inside_that_is_no_whole_frame_is_refused(inside: bytes) -> None:
    with pytest.raises(NotOpened):
        opened(pyrage.encrypt(inside, [KEY.recipient]))


@needs_age_and_zstd
def test_the_programs_age_and_zstd_open_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY.identity}\n")
    (tmp_path / "sealed").write_bytes(SEALED.data)
    age = subprocess.run(["age", "-d", "-i", tmp_path / "key", tmp_path / "sealed"], capture_output=True, check=True)
    assert subprocess.run(["zstd", "-d"], input=age.stdout, capture_output=True, check=True).stdout == PLAIN


@needs_age_and_zstd
def test_what_the_program_age_sealed_opens_here(tmp_path: Path) -> None:
    compressed = subprocess.run(["zstd", "-c", "--content-size", "--stream-size=20"], input=PLAIN, capture_output=True, check=True).stdout
    age = subprocess.run(["age", "-r", str(KEY.recipient)], input=compressed, capture_output=True, check=True)
    assert opened(age.stdout) == PLAIN


@given(st.binary(min_size=32, max_size=32))
def test_digests_are_the_same_for_one_key_and_tell_other_keys_nothing(sha256: bytes) -> None:
    other = StreamKey.generate(1)
    assert KEY.digest(sha256) == StreamKey.of_text(9, str(KEY.identity)).digest(sha256)
    assert len({KEY.digest(sha256), other.digest(sha256), sha256}) == 3
    assert len(KEY.digest(sha256)) == 32
