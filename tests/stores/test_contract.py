"""The sentences of `backups/stores/contract.py`, each against every store."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backups.stores.contract import (
    MAX_NAME_BYTES,
    MAX_OBJECT_BYTES,
    AlreadyThere,
    BadName,
    Damaged,
    Entry,
    Missing,
    Store,
    StoreError,
    checked_name,
)
from tests.stores.conftest import Place

ALWAYS = datetime.now(UTC) + timedelta(days=1)
ONE_BLOB = "customers/4f1c/blobs/ab/abcdef"

BAD_NAMES = [
    "", "/", "/etc/passwd", "a/", "/a", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".tmp/a", "a/.hidden", "a b", "a\\b", "a\n",
    "a\0b", "ä", "a%2e", "a?b", "a:b", "~a+b", "x" * (MAX_NAME_BYTES + 1),
]  # fmt: skip
BAD_PREFIXES = ["customers/acme", "/", "../", "a//", ".tmp/", "a/../", "a b/", "*"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def names(store: Store, prefix: str = "") -> list[str]:
    return [entry.name for entry in store.list(prefix)]


def leftovers(store: Store, prefix: str = "") -> list[tuple[str, str]]:
    return sorted((leftover.name, leftover.kind) for leftover in store.leftovers(prefix))


class TestNames:
    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_anything_else_is_a_bad_name_before_the_store_is_touched(self, store: Store, name: str) -> None:
        with pytest.raises(BadName):
            store.put(name, b"x")
        with pytest.raises(BadName):
            store.put_back(name, b"x", sha256(b"x"))
        for ask in (store.get, store.exists, store.remove):
            with pytest.raises(BadName):
                ask(name)
        with pytest.raises(BadName):
            store.read(name, 0, 1)
        assert names(store) == []

    @pytest.mark.parametrize("prefix", BAD_PREFIXES)
    def test_a_prefix_is_empty_or_ends_with_a_slash(self, store: Store, prefix: str) -> None:
        for ask in (store.list, store.leftovers):
            with pytest.raises(BadName):
                ask(prefix)
        with pytest.raises(BadName):
            store.remove_leftovers(prefix, ALWAYS)

    @pytest.mark.parametrize("name", ["a", "A-b_c.9", "-", "a" * MAX_NAME_BYTES, "/".join("a" * (MAX_NAME_BYTES // 2)), "x..y/z."])
    def test_every_name_of_the_alphabet_holds_an_object(self, store: Store, name: str) -> None:
        store.put(name, b"whole")
        assert store.get(name) == b"whole"
        assert names(store) == [name]
        store.remove(name)
        assert names(store) == []

    def test_an_object_that_is_too_large_is_refused_before_it_is_sent(self, store: Store) -> None:
        with pytest.raises(BadName, match="at most"):
            store.put("large", bytes(MAX_OBJECT_BYTES + 1))
        assert not store.exists("large")

    def test_the_url_says_where_without_a_secret(self, store: Store) -> None:
        assert store.url
        assert "testsecret" not in store.url + repr(store)


class TestPut:
    @pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5000], ids=["empty", "one byte", "a megabyte"])
    def test_it_stores_bytes_under_a_name_that_holds_nothing_yet(self, store: Store, data: bytes) -> None:
        store.put(ONE_BLOB, data)
        assert store.get(ONE_BLOB) == data
        assert list(store.list()) == [Entry(ONE_BLOB, len(data))]

    def test_it_never_overwrites(self, store: Store) -> None:
        store.put(ONE_BLOB, b"first")
        for data in (b"second", b"first"):
            with pytest.raises(AlreadyThere, match=ONE_BLOB):
                store.put(ONE_BLOB, data)
        assert store.get(ONE_BLOB) == b"first"
        assert leftovers(store) == []

    def test_of_eight_at_once_one_wins(self, store: Store) -> None:
        start = Barrier(8)

        def contend(number: int) -> int | None:
            start.wait()
            try:
                store.put(ONE_BLOB, b"%d" % number * 10_000)
            except AlreadyThere:
                return None
            return number

        with ThreadPoolExecutor(8) as threads:
            winners = [number for number in threads.map(contend, range(8)) if number is not None]
        assert len(winners) == 1
        assert store.get(ONE_BLOB) == b"%d" % winners[0] * 10_000
        assert leftovers(store) == []

    def test_a_removed_name_can_be_taken_again(self, store: Store) -> None:
        store.put(ONE_BLOB, b"first")
        store.remove(ONE_BLOB)
        store.put(ONE_BLOB, b"second")
        assert store.get(ONE_BLOB) == b"second"

    def test_several_threads_put_and_remove_neighbours_at_once(self, store: Store) -> None:
        def come_and_go(number: int) -> None:
            for turn in range(3):
                name = f"a/b/c/{number}-{turn}"
                store.put(name, b"x")
                assert store.get(name) == b"x"
                store.remove(name)

        with ThreadPoolExecutor(6) as threads:
            list(threads.map(come_and_go, range(6)))
        assert names(store) == []


class TestPutBack:
    def test_it_replaces_damaged_bytes(self, place: Place) -> None:
        place.store.put(ONE_BLOB, b"right")
        place.overwrite(ONE_BLOB, b"wrong")
        place.store.put_back(ONE_BLOB, b"right", sha256(b"right"))
        assert place.store.get(ONE_BLOB) == b"right"
        assert names(place.store) == [ONE_BLOB]

    def test_it_brings_back_what_is_gone(self, store: Store) -> None:
        store.put_back(ONE_BLOB, b"right", sha256(b"right"))
        assert store.get(ONE_BLOB) == b"right"

    def test_it_refuses_bytes_of_another_digest_before_writing(self, store: Store) -> None:
        store.put(ONE_BLOB, b"right")
        with pytest.raises(Damaged, match=ONE_BLOB):
            store.put_back(ONE_BLOB, b"wrong", sha256(b"right"))
        assert store.get(ONE_BLOB) == b"right"
        assert leftovers(store) == []

    def test_readers_see_the_old_bytes_or_the_new(self, place: Place) -> None:
        old, new = b"o" * 300_000, b"n" * 300_000
        place.store.put(ONE_BLOB, old)

        def go_back_and_forth() -> None:
            for data in (new, old) * 5:
                place.store.put_back(ONE_BLOB, data, sha256(data))

        with ThreadPoolExecutor(1) as thread:
            writing = thread.submit(go_back_and_forth)
            while not writing.done():
                assert place.store.get(ONE_BLOB) in (old, new)
            writing.result()

    def test_a_name_that_was_put_back_is_removed_like_any(self, store: Store) -> None:
        store.put(ONE_BLOB, b"right")
        store.put_back(ONE_BLOB, b"right", sha256(b"right"))
        store.remove(ONE_BLOB)
        assert not store.exists(ONE_BLOB)
        assert leftovers(store) == []


class TestReading:
    def test_missing_where_there_is_none(self, store: Store) -> None:
        store.put("a/b", b"x")
        for name in ("a/c", "a/b/c", "b", "a"):
            with pytest.raises(Missing, match=name):
                store.get(name)
            with pytest.raises(Missing, match=name):
                store.read(name, 0, 1)
            with pytest.raises(Missing, match=name):
                store.read(name, 0, 0)
            assert not store.exists(name)
        assert store.exists("a/b")

    @pytest.mark.parametrize(("start", "length"), [(0, 10), (0, 4), (3, 4), (9, 1), (9, 5), (10, 1), (50, 5), (4, 0), (0, 0)])
    def test_a_part_is_shorter_where_the_object_ends_and_empty_past_it(self, store: Store, start: int, length: int) -> None:
        store.put("digits", b"0123456789")
        assert store.read("digits", start, length) == b"0123456789"[start : start + length]

    def test_a_part_of_an_empty_object_is_empty(self, store: Store) -> None:
        store.put("empty", b"")
        assert store.read("empty", 0, 5) == b""

    @pytest.mark.parametrize(("start", "length"), [(-1, 1), (0, -1)])
    def test_no_part_begins_before_the_object(self, store: Store, start: int, length: int) -> None:
        store.put("digits", b"0123456789")
        with pytest.raises(BadName):
            store.read("digits", start, length)

    def test_the_bytes_are_what_the_store_holds_now(self, place: Place) -> None:
        place.store.put(ONE_BLOB, b"right")
        assert place.store.get(ONE_BLOB) == b"right"
        place.overwrite(ONE_BLOB, b"wrong")
        assert place.store.get(ONE_BLOB) == b"wrong"
        assert place.store.read(ONE_BLOB, 0, 2) == b"wr"


PARTS = st.text("aB0-._", min_size=1, max_size=3).filter(lambda part: part[0] != ".")
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


def without_folders(found: set[str]) -> set[str]:
    """Those of `found` that are not the folder of another."""
    return {name for name in found if not any(other.startswith(f"{name}/") for other in found)}


class TestList:
    def test_it_is_empty_where_nothing_is(self, store: Store) -> None:
        assert names(store) == []
        assert names(store, "no/such/") == []

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.sets(NAMES, max_size=8).map(without_folders))
    def test_it_yields_all_in_the_order_of_the_names(self, store: Store, found: set[str]) -> None:
        prefix = f"{uuid4().hex}/"
        for name in found:
            store.put(prefix + name, name.encode())
        assert list(store.list(prefix)) == [Entry(prefix + name, len(name)) for name in sorted(found)]

    def test_a_folder_is_sorted_with_its_slash(self, store: Store) -> None:
        ordered = ["a-b", "a-b-c/d", "a.b", "a.b.c/d", "a/b", "a0/b", "aa", "b/a-/x", "b/a./x", "b/a/x", "b/a0"]
        for name in reversed(ordered):
            store.put(name, b"")
        assert names(store) == ordered == sorted(ordered)

    def test_a_prefix_does_not_find_a_similar_name(self, store: Store) -> None:
        for name in ("customers/acme/a", "customers/acme2/a", "customers/acme-3/a", "customers/acm/a"):
            store.put(name, b"x")
        assert names(store, "customers/acme/") == ["customers/acme/a"]
        assert len(names(store, "customers/")) == 4

    def test_an_object_is_not_below_its_own_name(self, store: Store) -> None:
        store.put("customers/acme", b"x")
        assert names(store, "customers/acme/") == []

    def test_it_is_complete_beyond_one_page(self, place: Place) -> None:
        expected = [f"hot/{number:04}" for number in range(2 * place.page + 5)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda name: place.store.put(name, b""), expected))
        assert names(place.store) == expected

    def test_removing_what_it_yields_hides_nothing_from_it(self, store: Store) -> None:
        expected = [f"a/{number % 3}/{number}" for number in range(12)]
        for name in expected:
            store.put(name, b"")
        seen = []
        for entry in store.list():
            store.remove(entry.name)
            seen.append(entry.name)
        assert seen == sorted(expected)


class TestRemove:
    def test_it_is_no_error_where_nothing_is(self, store: Store) -> None:
        store.put("a/b", b"x")
        for name in ("a/c", "b/c/d", "b", "a", "a/b/c"):
            store.remove(name)
        assert names(store) == ["a/b"]

    def test_it_leaves_similar_names_alone(self, place: Place) -> None:
        similar = ["a/x-1", "a/x.old", "a/x0", "b/a/x"]
        for name in ("a/x", *similar):
            place.store.put(name, b"x")
            if place.leave:
                place.leave(name)
        before = leftovers(place.store)
        place.store.remove("a/x")
        assert names(place.store) == similar
        assert leftovers(place.store) == [leftover for leftover in before if leftover[0] != "a/x"]

    def test_it_removes_every_version_marker_and_unfinished_upload(self, place: Place) -> None:
        store = place.store
        store.put(ONE_BLOB, b"1")
        for act in (place.hide, place.leave, place.hide, place.leave):
            if act:
                act(ONE_BLOB)
            store.put_back(ONE_BLOB, b"1", sha256(b"1"))
        store.remove(ONE_BLOB)
        assert leftovers(store) == []
        assert not store.exists(ONE_BLOB)

    def test_it_removes_what_was_only_hidden(self, place: Place) -> None:
        if not place.hide:
            pytest.skip("a deletion hides nothing here")
        place.store.put(ONE_BLOB, b"1")
        place.hide(ONE_BLOB)
        assert not place.store.exists(ONE_BLOB)
        place.store.remove(ONE_BLOB)
        assert leftovers(place.store) == []

    def test_it_may_be_done_twice_at_once(self, store: Store) -> None:
        expected = [f"a/{number}" for number in range(10)]
        for name in expected:
            store.put(name, b"x")
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(store.remove, expected * 2))
        assert names(store) == []


class TestLeftovers:
    def test_an_unfinished_upload_is_no_object_but_a_leftover(self, place: Place) -> None:
        if not place.leave:
            pytest.skip("nothing is left unfinished here")
        place.leave("a/x")
        assert names(place.store) == []
        assert not place.store.exists("a/x")
        (found,) = place.store.leftovers()
        assert found.name == "a/x"
        assert found.kind in ("upload", "temporary")
        assert not place.dates_uploads or abs(found.since - datetime.now(UTC)) < timedelta(minutes=5)

    def test_they_are_found_by_prefix_and_not_by_a_similar_one(self, place: Place) -> None:
        for act in (place.leave, place.hide):
            for name in ("acme/x", "acme2/x"):
                if act:
                    place.store.put_back(name, b"1", sha256(b"1"))
                    act(name)
        assert {name for name, _ in leftovers(place.store, "acme/")} <= {"acme/x"}
        removed = place.store.remove_leftovers("acme/", ALWAYS)
        assert leftovers(place.store, "acme/") == []
        assert bool(removed) == bool(place.leave or place.hide)
        assert {name for name, _ in leftovers(place.store)} <= {"acme2/x"}

    def test_only_those_that_began_before_are_removed(self, place: Place) -> None:
        if place.leave and place.dates_uploads:
            place.leave("a/x")
        if place.hide:
            place.store.put("a/x", b"1")
            place.hide("a/x")
        before = leftovers(place.store)
        assert place.store.remove_leftovers("", datetime.now(UTC) - timedelta(hours=1)) == 0
        assert leftovers(place.store) == before
        assert place.store.remove_leftovers("", ALWAYS) == len(before)
        assert leftovers(place.store) == []

    def test_noncurrent_versions_and_markers_are_leftovers(self, place: Place) -> None:
        if not place.hide:
            pytest.skip("no versions are kept here")
        place.store.put("a/x", b"1")
        place.hide("a/x")
        place.store.put("a/x", b"2")
        assert leftovers(place.store) == [("a/x", "marker"), ("a/x", "version")]
        assert place.store.remove_leftovers("", ALWAYS) == 2
        assert place.store.get("a/x") == b"2"

    def test_sweeping_brings_nothing_back_into_sight(self, place: Place) -> None:
        if not place.hide:
            pytest.skip("a deletion hides nothing here")
        place.store.put("a/x", b"1")
        place.hide("a/x")
        place.store.remove_leftovers("", ALWAYS)
        assert names(place.store) == []
        assert leftovers(place.store) == []

    def test_objects_are_never_leftovers(self, store: Store) -> None:
        store.put("a/x", b"1")
        assert store.remove_leftovers("", ALWAYS) == 0
        assert names(store) == ["a/x"]


class TestCheck:
    def test_it_uses_the_store_and_leaves_nothing(self, store: Store) -> None:
        store.check()
        assert names(store) == []
        assert leftovers(store) == []


def test_a_name_is_checked_by_its_whole_text() -> None:
    assert checked_name("a/b") == "a/b"
    with pytest.raises(BadName):
        checked_name("a/b\n")


def test_all_that_a_store_raises_is_one_tree() -> None:
    for kind in (BadName, AlreadyThere, Missing, Damaged):
        assert issubclass(kind, StoreError)
