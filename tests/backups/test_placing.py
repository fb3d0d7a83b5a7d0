"""Putting one object: what stands there is kept when it is right, put back when it is not, and a name that gives nothing is no obstacle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from audit.models import Stream
from backups.errors import NoLocation
from backups.models import Blob
from backups.nightly import back_up
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import AlreadyThere, Damaged, Entry, Missing, StoreUnavailable
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from subscriptions.models import DataRecord

DATA, OTHER = b"right", b"wrong"


class GhostStore(MemoryStore):
    """Lists names that it does not give: a server that was killed between the entry in its listing and the object."""

    def __init__(self, url: str = "memory:") -> None:
        super().__init__(url)
        self.ghosts: dict[str, int] = {}
        self.dying = False

    def put(self, name: str, data: bytes) -> None:
        if name in self.ghosts:
            raise AlreadyThere(name)
        if self.dying and "/blobs/" in name:
            self.ghosts[name], self.down = len(data), True
        super().put(name, data)  # which says so when it is down

    def put_back(self, name: str, data: bytes, sha256: str) -> None:
        super().put_back(name, data, sha256)
        self.ghosts.pop(name, None)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        yield from super().list(prefix)
        yield from (Entry(name, size) for name, size in self.ghosts.items() if name.startswith(prefix))


@pytest.mark.parametrize("before", [None, DATA, OTHER])
def test_after_it_the_store_gives_exactly_these_bytes(before: bytes | None) -> None:
    store = MemoryStore()
    if before is not None:
        store.put("a", before)
    put_and_read_back(store, "a", DATA, sha256_of(DATA))
    assert store.get("a") == DATA


def test_a_name_that_is_taken_and_gives_nothing_is_put_back() -> None:
    store = GhostStore()
    store.ghosts["a"] = len(DATA)
    with pytest.raises(Missing):
        store.get("a")
    put_and_read_back(store, "a", DATA, sha256_of(DATA))
    assert store.get("a") == DATA and [entry.name for entry in store.list()] == ["a"]


def test_a_store_that_cannot_answer_is_not_taken_for_one_that_has_nothing() -> None:
    store = MemoryStore()
    store.put("a", OTHER)

    def fail(operation: str, name: str) -> None:
        if operation == "get":
            raise StoreUnavailable("down")

    store.fail = fail
    with pytest.raises(StoreUnavailable):
        put_and_read_back(store, "a", DATA, sha256_of(DATA))
    assert store.objects["a"] == OTHER


def test_bytes_that_come_back_otherwise_do_not_count() -> None:
    store = MemoryStore()
    store.get = lambda name: OTHER  # type: ignore[method-assign]
    with pytest.raises(Damaged):
        put_and_read_back(store, "a", DATA, sha256_of(DATA))


@pytest.fixture
def ghosts() -> dict[str, GhostStore]:
    return {name: GhostStore(f"memory:{name}") for name in ("primary", "offsite")}


@pytest.fixture
def haunted(acme: Any, make_vault: Any, ghosts: dict[str, GhostStore]) -> tuple[Vault, Stream]:
    """The vault over them, and a customer with something to back up."""
    DataRecord.objects.create(customer=acme, kind="part", reference="1", data={"Name": "bolt"})
    return make_vault(**ghosts), Stream.objects.get(pk=acme.pk)


@pytest.mark.django_db(transaction=True)
def test_what_a_dying_server_lists_and_does_not_give_is_brought_there_by_the_next_backup(
    haunted: tuple[Vault, Stream], ghosts: dict[str, GhostStore]
) -> None:
    vault, stream = haunted
    ghosts["offsite"].dying = True
    assert back_up(vault, stream).whole_at == ["primary"]
    ghosts["offsite"].dying = ghosts["offsite"].down = False
    assert ghosts["offsite"].ghosts
    outcome = back_up(vault, stream)
    assert outcome.good and outcome.troubles == {} and not ghosts["offsite"].ghosts
    assert {name for name in ghosts["primary"].objects if "/blobs/" in name} <= set(ghosts["offsite"].objects)


@pytest.mark.django_db(transaction=True)
def test_a_location_that_lists_what_was_never_stored_is_not_in_trouble_for_it(
    haunted: tuple[Vault, Stream], ghosts: dict[str, GhostStore]
) -> None:
    vault, stream = haunted
    for store in ghosts.values():
        store.dying = True
    with pytest.raises(NoLocation):
        back_up(vault, stream)
    for store in ghosts.values():
        store.dying = store.down = False
    outcome = back_up(vault, stream)
    assert outcome.good and outcome.troubles == {}
    assert not Blob.objects.filter(state=Blob.State.INTENDED).exists()
    assert any("nobody stored here" in note for note in outcome.notes)
