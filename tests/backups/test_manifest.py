"""What a set says of itself comes back as it was said, and what was cut, altered or exchanged is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.manifest import BadManifest, ChunkRef, Part, body_lines, check_envelope, object_name, read_body, stream_folder
from backups.stores.contract import is_name

STREAM = "0b8e6d3e-58ef-4a3c-8b3c-3a5fd6d4a1b2"
SYSTEM = "00000000-0000-0000-0000-000000000000"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, 2**63 - 1)
columns = st.lists(st.fixed_dictionaries({"name": texts, "kind": texts, "null": st.booleans()}), max_size=3)
refs = st.lists(st.builds(ChunkRef, texts, counts, counts, texts, counts), max_size=4)
parts = st.lists(st.builds(Part, texts, texts, columns, texts, texts, st.lists(st.lists(texts), max_size=2), refs), max_size=4)
heads = st.dictionaries(texts.filter(lambda name: name != "format"), texts, max_size=3)


def body(head: dict[str, Any], of: list[Part]) -> bytes:
    return "".join(body_lines(head, of)).encode()


def a_body() -> bytes:
    ref = ChunkRef("ab" * 32, 0, 10, "cd" * 32, 2)
    return body({"set": "s"}, [Part("rows", "a.b", [], "id", chunks=[ref, ref]), Part("journal", "a.j", [], "id", chunks=[ref])])


@given(heads, parts)
def test_a_body_comes_back(head: dict[str, Any], of: list[Part]) -> None:
    found, read = read_body(body(head, of))
    assert found == {"format": 1, **head}
    assert read == of
    assert [part.rows for part in read] == [sum(chunk.rows for chunk in part.chunks) for part in of]


def test_line_ends_that_only_unicode_knows_do_not_end_a_line() -> None:
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\r\n\x1c"
    assert read_body(body({}, [Part("rows", odd, [], odd)]))[1] == [Part("rows", odd, [], odd)]


def test_a_body_cut_anywhere_is_refused() -> None:
    whole = a_body()
    for length in range(len(whole) - 1):  # the last byte is a line end that says nothing
        with pytest.raises(BadManifest, match=r"cannot be read|was cut"):
            read_body(whole[:length])


def test_a_body_that_lost_a_line_is_refused() -> None:
    lines = a_body().splitlines(keepends=True)
    for at in (2, 3, 5, 6):  # a chunk's line or the end
        with pytest.raises(BadManifest, match="was cut"):
            read_body(b"".join(lines[:at] + lines[at + 1 :]))


def test_a_body_of_a_later_format_says_which() -> None:
    with pytest.raises(BadManifest, match="is of format 2; this software reads format 1"):
        read_body(a_body().replace(b'"format":1', b'"format":2'))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\xff\xfe",
        b"{}\n{}",
        b"[]\n[]",
        b"1\n2",
        b'{"format":1}\n[]',
        b'{"format":1}\n7\n{"end":true,"chunks":0}',
        b'{"format":1}\n{"end":true}',
        b'{"format":1}\n{"part":"rows"}\n{"end":true,"chunks":0}',
        b'{"format":1}\n{"chunk":["a",0,1,"b",1]}\n{"end":true,"chunks":1}',
        b'{"format":1}\n{"part":"rows","model":"m","columns":[],"key":"id"}\n{"chunk":["a"]}\n{"end":true,"chunks":1}',
    ],
)
def test_anything_else_is_refused_too(data: bytes) -> None:
    with pytest.raises(BadManifest, match="the set's body"):
        read_body(data)


def test_an_envelope_counts_only_under_its_own_name() -> None:
    envelope = {"format": 1, "stream": STREAM, "set": "one"}
    assert check_envelope(envelope, stream=STREAM, ident="one") is envelope
    with pytest.raises(BadManifest, match=f"is about set one of {STREAM}, not about two of {STREAM}"):
        check_envelope(envelope, stream=STREAM, ident="two")
    with pytest.raises(BadManifest, match="not about one of other"):
        check_envelope(envelope, stream="other", ident="one")
    with pytest.raises(BadManifest, match="is of format 2; this software reads format 1"):
        check_envelope({**envelope, "format": 2}, stream=STREAM, ident="one")


@pytest.mark.parametrize(
    ("kind", "ident", "name"),
    [
        ("blob", "abcd", "blobs/ab/abcd"),
        ("body", "one", "sets/one.age"),
        ("envelope", "one", "sets/one.json"),
    ],
)
def test_each_kind_has_its_place_in_the_streams_folder(kind: str, ident: str, name: str) -> None:
    assert object_name(STREAM, kind, ident) == f"customers/{STREAM}/{name}"
    assert object_name(SYSTEM, kind, ident) == f"system/{name}"
    assert is_name(object_name(STREAM, "blob", "a" * 64))


def test_keys_lie_outside_of_the_folder_of_what_they_open() -> None:
    """So that all content can be copied away, or removed, without its keys."""
    for stream in (STREAM, SYSTEM):
        assert object_name(stream, "key", "3") == f"keys/{stream}/3.age"
        assert not object_name(stream, "key", "3").startswith(stream_folder(stream))


def test_a_body_is_lines_of_json_that_any_tool_reads() -> None:
    assert [json.loads(line) for line in a_body().decode().splitlines()][-1] == {"end": True, "chunks": 3}
