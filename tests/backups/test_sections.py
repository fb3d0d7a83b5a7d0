"""Sections and segments: what is written reads back, and nothing in it can be altered, left out or cut unseen."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import chain
from audit.signing import Signer, new_secret
from backups.hot import sections, segments
from backups.hot.sections import BadSection, Change, FileEntry, Section
from backups.hot.segments import BadSegment, Entry, Index
from backups.placing import sha256_of

STREAM = "7c0f4d5e-0000-4000-8000-000000000001"
WRITTEN = "2026-03-04T02:05:00.000000Z"
AT = datetime(2026, 3, 4, 2, 5, tzinfo=UTC)
TEXTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\x00"), max_size=40)


def section(rows: list[str], files: tuple[FileEntry, ...] = ()) -> Section:
    head, changes = chain.START, []
    for number, text in enumerate(rows, start=1):
        row = json.dumps({"history_id": number, "text": text}, ensure_ascii=False).encode()
        changes.append(Change(number, number + 7, STREAM, WRITTEN, "app.model", f"{number:032x}", number % 2 == 0, row))
        head = chain.following(head, changes[-1].leaf)
    return Section(STREAM, 12, 1, chain.START, head, {"app.model": {"key": "id"}}, changes, list(files))


@given(st.lists(TEXTS, max_size=8))
def test_a_section_reads_back_as_it_was_written(texts):
    one = section(texts, (FileEntry("app.model", "uploads/x", "ab" * 32, 5, [["cd" * 32, 0, 5]]), FileEntry("app.model", "y", "", 0, None)))
    assert sections.read(sections.written(one), stream=STREAM) == one


@given(st.data())
def test_one_changed_byte_of_a_change_is_named(data):
    written = sections.written(section(["first", "second", "third"]))
    at = written.index(b'"row":') + data.draw(st.integers(6, 30))
    altered = written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :]
    with pytest.raises(BadSection):
        sections.read(altered, stream=STREAM)


@pytest.mark.parametrize("left_out", [1, 2, 3, 4])
def test_a_line_that_is_left_out_is_noticed(left_out):
    lines = sections.written(section(["first", "second", "third"])).split(b"\n")
    del lines[left_out]
    with pytest.raises(BadSection):
        sections.read(b"\n".join(lines), stream=STREAM)


def test_a_section_of_another_customer_is_refused():
    with pytest.raises(BadSection, match="is of"):
        sections.read(sections.written(section(["x"])), stream=STREAM.replace("7", "8"))


def segment(signer: Signer, sealed: bytes = b"sealed") -> bytes:
    entry = Entry(STREAM, 1, sha256_of(sealed), len(sealed), 100, 1, 3, "ab" * 32, None)
    return segments.written(Index(12, 4, 1, AT, AT, "test", (entry,)), {STREAM: sealed}, signer)


def test_a_segment_reads_back_and_any_tar_opens_it(tmp_path):
    import tarfile

    signer = Signer(new_secret())
    data = segment(signer)
    index, sealed = segments.read(data, signer.fingerprint)
    assert (index.segment, index.epoch, index.until) == (12, 4, AT)
    assert sealed == {STREAM: b"sealed"}
    (tmp_path / "one.tar").write_bytes(data)
    with tarfile.open(tmp_path / "one.tar") as archive:
        assert archive.getnames() == ["index.json", f"{STREAM}.age"]


def test_a_segment_signed_by_another_key_does_not_count():
    with pytest.raises(BadSegment, match="only"):
        segments.read(segment(Signer(new_secret())), Signer(new_secret()).fingerprint)


@given(st.integers(0, 3000))
def test_no_byte_of_a_segment_that_matters_can_be_changed_unseen(at):
    signer = Signer(bytes(32))
    data = segment(signer)
    altered = data[: at % len(data)] + bytes([data[at % len(data)] ^ 1]) + data[at % len(data) + 1 :]
    try:
        found = segments.read(altered, signer.fingerprint)
    except BadSegment:
        return
    assert found == segments.read(data, signer.fingerprint)  # a byte of tar's own filling or dates


def test_the_name_tells_number_and_epoch():
    name = segments.name_of(57, 3, AT)
    assert name == "hot/2026-03-04/000000000057-3.tar"
    assert segments.number_and_epoch(name) == (57, 3)
    assert segments.number_and_epoch("hot/2026-03-04/57.tar") is None


def test_a_section_that_ends_elsewhere_than_it_says_is_refused():
    one = section(["x", "y"])
    with pytest.raises(BadSection, match="does not end"):
        sections.read(sections.written(replace(one, head=chain.START)), stream=STREAM)
