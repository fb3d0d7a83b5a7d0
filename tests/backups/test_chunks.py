"""Cutting into chunks: nothing is lost, nothing is too long, and one changed row changes one chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups import chunks
from backups.chunks import AVERAGE_ROWS, MAX_PLAIN_BYTES, Batch, Chunk, Joined, Pack, batched, cut_file, ends_chunk, next_end

ROWS = 400_000
Rows = list[tuple[int | str, bytes]]

text_lines = st.binary(max_size=200).map(lambda line: line.replace(b"\n", b""))
kinds_of_keys = st.sampled_from([st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9), st.text(st.characters(exclude_categories=["Cs"]))])


def rows_of(lines: st.SearchStrategy[bytes]) -> st.SearchStrategy[Rows]:
    return kinds_of_keys.flatmap(lambda keys: st.lists(st.tuples(keys, lines), max_size=30))


@contextmanager
def blobs_of_64_bytes() -> Iterator[None]:
    """So that small examples meet every limit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "MAX_PLAIN_BYTES", 64)
        patch.setattr(chunks, "_THRESHOLD", 2**64 // 3)
        yield


def cut(rows: Iterable[tuple[int | str, bytes]]) -> Iterator[Chunk]:
    return chunks.cut(batched(rows))


def joined(found: Sequence[Chunk]) -> bytes:
    return b"".join(chunk.data for chunk in found)


def as_file(rows: Rows) -> bytes:
    return b"".join(line + b"\n" for _, line in rows)


def numbered(wanted: range) -> Rows:
    return [(key, b'{"id":%d}' % key) for key in wanted]


def lengths(wanted: range) -> list[int]:
    """How many rows each chunk has; the one that was only begun is left out."""
    ends = [at for at, key in enumerate(wanted) if ends_chunk(key)]
    return [after - before for before, after in pairwise([-1, *ends])]


@given(rows_of(text_lines))
def test_the_chunks_together_are_the_lines(rows: Rows) -> None:
    with blobs_of_64_bytes():
        found = list(cut(rows))
    assert joined(found) == as_file(rows)
    assert sum(chunk.rows for chunk in found) == len(rows)
    assert all(0 < len(chunk.data) <= 64 for chunk in found)


@given(rows_of(st.binary(max_size=63).map(lambda line: line.replace(b"\n", b"."))))
def test_a_row_that_fits_into_a_blob_is_not_cut_through(rows: Rows) -> None:
    with blobs_of_64_bytes():
        assert all(chunk.data.endswith(b"\n") and chunk.rows for chunk in cut(rows))


def test_rows_that_fill_a_blob_to_the_last_byte_are_one_chunk() -> None:
    rows: Rows = [(2, b"x" * (MAX_PLAIN_BYTES // 2 - 1)), (3, b"y" * (MAX_PLAIN_BYTES // 2 - 1))]
    assert [len(chunk.data) for chunk in cut(rows)] == [MAX_PLAIN_BYTES]
    assert [len(chunk.data) for chunk in cut([rows[0], (3, rows[1][1] + b"y")])] == [MAX_PLAIN_BYTES // 2, MAX_PLAIN_BYTES // 2 + 1]


@pytest.mark.parametrize("character", ["a", "𝄞"])
@pytest.mark.parametrize("length", [100, MAX_PLAIN_BYTES // 4, MAX_PLAIN_BYTES])
@pytest.mark.parametrize("more", [-8, -7, -1, 0, 1])
def test_no_chunk_is_longer_than_a_blob_whatever_the_rows_are(character: str, length: int, more: int) -> None:
    huge = (character * (length + more)).encode()
    rows: Rows = [(1, b"before"), (2, huge), (3, b"after"), (4, huge[: len(huge) // 2])]
    found = list(cut(rows))
    assert all(len(chunk.data) <= MAX_PLAIN_BYTES for chunk in found)
    assert joined(found) == as_file(rows)
    assert sum(chunk.rows for chunk in found) == len(rows)


def test_many_rows_of_wide_characters_stay_below_the_limit_too() -> None:
    wide = "𝄞".encode() * 1000
    found = list(cut((3, wide) for _ in range(5000)))
    assert len(found) == 3 and all(len(chunk.data) <= MAX_PLAIN_BYTES for chunk in found)
    assert sum(chunk.rows for chunk in found) == 5000


@pytest.mark.parametrize("at", [0, 1, 4095, 123_456, ROWS - 3])
def test_one_inserted_or_deleted_row_changes_one_chunk_or_splits_one(at: int) -> None:
    """The same list with and without a row, read both ways: at most one chunk more or less, and all the others stay."""
    whole = numbered(range(2, 2 * ROWS, 2))
    without = whole[:at] + whole[at + 1 :]
    with_row, less = ({chunk.sha256 for chunk in cut(rows)} for rows in (whole, without))
    assert len(with_row) > 90
    assert 1 <= len(with_row - less) <= 2
    assert 1 <= len(less - with_row) <= 2


def test_a_deleted_end_joins_two_chunks_and_leaves_the_others() -> None:
    whole = numbered(range(ROWS))
    end = next(at for at, (key, _) in enumerate(whole) if at > 100_000 and ends_chunk(key))
    before, after = ({chunk.sha256 for chunk in cut(rows)} for rows in (whole, whole[:end] + whole[end + 1 :]))
    assert (len(before - after), len(after - before)) == (2, 1)


@pytest.mark.parametrize("first", [1, 10**9, 2**62, -(10**6)])
def test_keys_given_out_in_sequence_make_even_chunks(first: int) -> None:
    found = lengths(range(first, first + ROWS))[1:]
    assert abs(sum(found) / len(found) - AVERAGE_ROWS) < 0.05 * AVERAGE_ROWS
    assert min(found) >= 2000 and max(found) <= 7000


@pytest.mark.parametrize("step", [2, 7, 10, 100, 1000, 1024, 4096, 10_000, 65_536, 100_000])
def test_keys_in_steps_as_many_customers_leave_them_make_chunks_too(step: int) -> None:
    """Customers take turns in a table, so each has every tenth or every ten-thousandth key."""
    found = lengths(range(5, 5 + ROWS * step, step))
    assert ROWS / AVERAGE_ROWS / 1.5 < len(found) < ROWS / AVERAGE_ROWS * 1.5
    assert max(found) < 5 * AVERAGE_ROWS


def test_keys_that_are_text_make_chunks_at_the_same_keys_each_time() -> None:
    rows: Rows = sorted((f"key-{number}", b"x") for number in range(100_000))
    found = list(cut(rows))
    assert 100_000 / AVERAGE_ROWS / 2 < len(found) < 100_000 / AVERAGE_ROWS * 2
    changed = {chunk.sha256 for chunk in cut([*rows[:50_000], ("key-inserted", b"y"), *rows[50_000:]])} - {chunk.sha256 for chunk in found}
    assert len(changed) <= 2


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_a_file_is_cut_at_the_same_places_however_it_is_read(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    with blobs_of_64_bytes():
        found = list(cut_file(pieces))
    assert joined(found) == content
    assert [len(chunk.data) for chunk in found[:-1]] == [64] * (len(found) - 1)
    assert len(found[-1].data) <= 64 and len(found) == max(1, -(-len(content) // 64))
    assert all(chunk.rows == 0 for chunk in found)


def test_an_empty_file_is_one_empty_chunk() -> None:
    assert list(cut_file([])) == list(cut_file([b"", b""])) == [Chunk.of(b"", 0)]


@given(st.lists(st.binary(max_size=100), min_size=1))
def test_a_pack_gives_each_chunk_back_from_its_offset(contents: list[bytes]) -> None:
    pack = Pack()
    placed = [(pack.add(Chunk.of(content, 1)), content) for content in contents]
    plain = b"".join(pack.pieces())
    assert len(plain) == pack.size
    assert all(plain[offset : offset + len(content)] == content for offset, content in placed)


def test_a_pack_takes_what_fits_into_a_blob_and_no_byte_more() -> None:
    pack = Pack()
    pack.add(Chunk.of(bytes(MAX_PLAIN_BYTES - 10), 0))
    assert pack.has_room(Chunk.of(bytes(10), 0))
    assert not pack.has_room(Chunk.of(bytes(11), 0))


@given(st.one_of(st.integers(-(2**63), 2**62), st.integers(0, 10**7)), st.sampled_from([2, 3, 10, 64, 1000]))
def test_the_next_key_that_ends_a_chunk_is_found_without_looking_at_those_before_it(key: int, average: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "_THRESHOLD", 2**64 // average)
        assert next_end(key) == next(one for one in range(key, key + 100_000) if ends_chunk(one))


def test_the_next_end_is_the_same_one_for_all_keys_of_a_chunk() -> None:
    ends = [key for key in range(100_000) if ends_chunk(key)]
    for before, end in pairwise(ends):
        assert {next_end(before + 1), next_end((before + end) // 2), next_end(end)} == {end}


steps = st.one_of(st.integers(1, 3), st.integers(1, 200))


@given(st.integers(-1000, 1000), st.lists(steps, min_size=1, max_size=60), st.integers(1, 60), st.integers(1, 60))
def test_the_chunks_are_the_same_however_the_rows_come_and_however_far_apart_their_keys_are(
    first: int, steps: list[int], one: int, other: int
) -> None:
    """As whoever looks at every row cuts them."""
    rows = [(key, b"{%d}" % key) for key in accumulate(steps, initial=first)]
    with blobs_of_64_bytes():
        expected = [b"".join(line + b"\n" for _, line in run) for run in cut_row_by_row(rows)]
        for size in (one, other):
            assert [chunk.data for chunk in chunks.cut(in_batches(rows, size))] == expected


def in_batches(rows: Sequence[tuple[int, bytes]], size: int) -> Iterator[Batch]:
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        yield Batch([line for _, line in part], [key for key, _ in part].__getitem__)


def cut_row_by_row(rows: Sequence[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
    runs: list[list[tuple[int, bytes]]] = [[]]
    for key, line in rows:
        if sum(len(held) + 1 for _, held in runs[-1]) + len(line) >= 64:
            runs.append([])
        runs[-1].append((key, line))
        if ends_chunk(key):
            runs.append([])
    return [run for run in runs if run]


lines_of_any_length = st.one_of(st.binary(max_size=12), st.binary(max_size=150)).map(lambda line: line.replace(b"\n", b"."))


@given(st.integers(-1000, 1000), st.lists(st.tuples(steps, lines_of_any_length), max_size=60), st.integers(1, 9), st.booleans())
def test_the_chunks_are_the_same_when_the_lines_come_joined(
    first: int, rest: list[tuple[int, bytes]], together: int, some_of_them: bool
) -> None:
    keys = accumulate((step for step, _ in rest), initial=first)
    rows: Rows = list(zip(keys, (line for _, line in rest), strict=False))
    with blobs_of_64_bytes():
        expected = [(chunk.data, chunk.rows, chunk.sha256) for chunk in cut(rows)]
        came = list(joined_up_to_ends(rows, together, some_of_them))
        assert [(chunk.data, chunk.rows, chunk.sha256) for chunk in chunks.cut(came)] == expected


def joined_up_to_ends(rows: Rows, together: int, some_of_them: bool) -> Iterator[Batch | Joined]:
    """Runs of rows up to a chunk's end; with `some_of_them` every third one row by row."""
    run: Rows = []
    for number, (key, line) in enumerate(rows):
        run.append((key, line))
        if len(run) == together or ends_chunk(key) or number == len(rows) - 1:
            if some_of_them and number % 3 == 0:
                yield from batched(run)
            else:
                yield Joined(memoryview(b"\n".join(line for _, line in run)), len(run), int(key))
            run = []
