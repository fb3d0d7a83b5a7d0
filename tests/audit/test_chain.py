"""The chain of digests: whatever is altered, removed, inserted or put elsewhere no longer fits."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import chain
from audit.chain import START, Head

SALT = b"s" * chain.SALT_BYTES
CONTENTS = st.lists(st.binary(max_size=20), min_size=1, max_size=12)


def links(contents: list[bytes]) -> list[tuple[Head, str]]:
    head, found = START, []
    for content in contents:
        leaf = chain.leaf(SALT, content)
        head = chain.following(head, leaf)
        found.append((head, leaf))
    return found


def misfits(chained: list[tuple[Head, str]]) -> list[int]:
    """The numbers that do not fit, each held against the one before."""
    befores = [START, *(head for head, _ in chained)]
    return [head.number for before, (head, leaf) in zip(befores, chained, strict=False) if chain.misfit(before, head, leaf)]


def test_a_leaf_is_the_digest_of_salt_and_content() -> None:
    assert chain.leaf(SALT, b"content") == hashlib.sha256(SALT + b"content").hexdigest()
    with pytest.raises(ValueError, match="15 bytes instead of 16"):
        chain.leaf(SALT[1:], b"s" + b"content")


def test_a_link_covers_what_was_before_its_number_and_its_leaf() -> None:
    leaf = chain.leaf(SALT, b"")
    digest = hashlib.sha256(bytes(32) + b"\0\0\0\0\0\0\0\1" + bytes.fromhex(leaf)).hexdigest()
    assert chain.following(START, leaf) == Head(1, digest)


@given(CONTENTS)
def test_a_chain_fits(contents: list[bytes]) -> None:
    assert misfits(links(contents)) == []


@given(CONTENTS, st.data())
def test_one_other_content_moves_the_head(contents: list[bytes], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(contents) - 1))
    other = data.draw(st.binary(max_size=20).filter(lambda content: content != contents[place]))
    altered = [*contents[:place], other, *contents[place + 1 :]]
    assert links(altered)[-1] != links(contents)[-1]


@given(CONTENTS, st.data())
def test_an_altered_leaf_is_found_where_it_stands(contents: list[bytes], data: st.DataObject) -> None:
    chained = links(contents)
    place = data.draw(st.integers(0, len(contents) - 1))
    chained[place] = (chained[place][0], chain.leaf(SALT, contents[place] + b"!"))
    assert misfits(chained) == [place + 1]


@given(st.lists(st.binary(max_size=5), min_size=2, max_size=12), st.data())
def test_a_removed_link_is_found_at_the_next(contents: list[bytes], data: st.DataObject) -> None:
    chained = links(contents)
    place = data.draw(st.integers(0, len(contents) - 2))
    del chained[place]
    assert misfits(chained) == [place + 2]


def test_what_does_not_fit_is_named() -> None:
    (first, leaf), (second, second_leaf), (third, third_leaf) = links([b"a", b"b", b"c"])
    assert chain.misfit(first, third, third_leaf) == "number 2 is missing before it"
    assert chain.misfit(START, third, third_leaf) == "numbers 1 to 2 are missing before it"
    assert chain.misfit(first, second, leaf) == "its digest does not follow from the one before"
    assert chain.misfit(first, second, "nonsense") == "its digest is none"
    assert chain.misfit(first, second, second_leaf) == ""
