"""A seeded world of memory stores, a simulated clock and a real database, in which any verb can be crashed at step n.

A step is a statement to the database or a call of a store. `Crash` is no `Exception`, so nothing handles it: as with a killed process, what
was committed stays and the rest is gone. The world remembers what a customer's rows were when each set was attempted, and
`check` holds every set that claims to exist against that memory.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.db import connection

from audit import registry, rows
from audit.models import Stream
from backups import keyfiles, locations
from backups.locations import Named, Place
from backups.models import BackupSet, Copy
from backups.nightly import Outcome, back_up
from backups.prune.carrying_out import Pass, carry_out
from backups.reading import find_sets, open_set
from backups.stores.memory import MemoryStore
from backups.vault import Vault
from backups.verification import carrying_out as verifying
from backups.verification.carrying_out import Turn, Wanted
from subscriptions.models import Customer, DataRecord, Link, UploadedContent


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Steps:
    """Counts the steps of a verb and crashes at the chosen one."""

    crash_at: int | None = None
    taken: int = 0
    dead: bool = False

    def step(self) -> None:
        self.taken += 1
        if self.dead or self.taken == self.crash_at:
            self.dead = True
            raise Crash(f"at step {self.taken}")


@dataclass
class World:
    """Two places, one clock, any number of customers; every choice comes from the seed."""

    seed: int
    key_folder: Path
    spool: Path
    names: tuple[str, ...] = ("primary", "offsite")
    now: datetime = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
    remembered: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    wrong: tuple[dict[str, bytes], dict[str, bytes], str] | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.stores = {name: MemoryStore(f"memory:{name}") for name in self.names}
        signer = keyfiles.signer(self.key_folder)
        placed = locations.sync_locations([Named(name, store.url, name != "primary") for name, store in self.stores.items()])
        for store in self.stores.values():
            locations.prepare(store, signer, "read me\n", made="2026-03-01", sample=True)
        places = tuple(Place(row, self.stores[row.name]) for row in placed)
        self.vault = Vault(places, keyfiles.key_ring(self.key_folder), signer, self.spool, lambda: self.now)

    @contextmanager
    def crashing(self, crash_at: int | None) -> Iterator[Steps]:
        """Inside, each statement and each call of a store is a step; the process dies at step `crash_at`."""
        steps = Steps(crash_at)

        def statement(execute: Callable[..., Any], *arguments: Any) -> Any:
            steps.step()
            return execute(*arguments)

        for store in self.stores.values():
            store.fail = lambda operation, name: steps.step()
        try:
            with connection.execute_wrapper(statement):
                yield steps
        finally:
            for store in self.stores.values():
                store.fail = None

    def back_up(self, customer: Customer, *, crash_at: int | None = None) -> Outcome | None:
        """One backup, perhaps crashed; None when it crashed. Time goes on, past any lease that the dead process held."""
        stream = Stream.objects.get(pk=customer.pk)
        state = content_of(customer)
        before = set(BackupSet.objects.values_list("pk", flat=True))
        outcome = None
        try:
            with self.crashing(crash_at):
                outcome = back_up(self.vault, stream, workers=0)
        except Crash:
            self.now += timedelta(minutes=10)
        for backup_set in BackupSet.objects.exclude(pk__in=before):
            self.remembered[str(backup_set.pk)] = state
        self.now += timedelta(hours=1)
        return outcome

    def prune(self, *, crash_at: int | None = None) -> Pass | None:
        """One pass of retention, perhaps crashed; None when it crashed."""
        try:
            with self.crashing(crash_at):
                return carry_out(self.vault)
        except Crash:
            self.now += timedelta(minutes=10)
            return None

    def verify(self, *, crash_at: int | None = None) -> list[Turn] | None:
        """All that is stored is read again and mended, perhaps crashed; None when it crashed."""
        try:
            with self.crashing(crash_at):
                return verifying.carry_out(self.vault, Wanted(everything=True, workers=0))
        except Crash:
            self.now += timedelta(minutes=10)
            return None

    def change(self, customer: Customer) -> None:
        """A few random changes: records made, changed and deleted, a file, a link."""
        for _ in range(self.random.randint(1, 4)):
            self.random.choice([self._make, self._alter, self._remove, self._upload, self._link])(customer)

    def _make(self, customer: Customer) -> None:
        DataRecord.objects.create(customer=customer, kind="part", reference=self._word(), data={"Note": self._word() * 20})

    def _alter(self, customer: Customer) -> None:
        keys = list(DataRecord.objects.filter(customer=customer).order_by("pk").values_list("pk", flat=True))
        if keys:
            found = DataRecord.objects.get(pk=self.random.choice(keys))
            found.data = {**found.data, "Changed": self._word()}
            found.save()

    def _remove(self, customer: Customer) -> None:
        found = DataRecord.objects.filter(customer=customer).order_by("pk").first()
        if found is not None:
            found.delete()

    def _upload(self, customer: Customer) -> None:
        content = ContentFile(self.random.randbytes(self.random.choice([0, 10, 5000])), name="x")
        UploadedContent.objects.create(customer=customer, name=self._word(), file=content)

    def _link(self, customer: Customer) -> None:
        Link.objects.create(customer=customer, reference=self._word(), url="https://example.org/")

    def _word(self) -> str:
        return f"{self.random.getrandbits(60):x}"

    def damage(self) -> str:
        """Flips a byte of one random blob at one place; returns what it did."""
        store = self.random.choice(list(self.stores.values()))
        blobs = [name for name in store.objects if "/blobs/" in name]
        if not blobs:
            return "nothing to damage"
        name = self.random.choice(blobs)
        data = bytearray(store.objects[name])
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        store.objects[name] = bytes(data)
        return f"{name} at {store.url}"

    def harm(self) -> None:
        """Flips a byte of one random object of any kind, cuts it or deletes it, at one place; another one has it whole."""
        primary, offsite = (self.stores[name].objects for name in self.names)
        both = sorted(name for name, data in primary.items() if data and offsite.get(name) == data and "/damaged/" not in name)
        name = self.random.choice(both)
        objects, others = self.random.sample([primary, offsite], 2)
        self.wrong = objects, others, name
        data, way = bytearray(objects[name]), self.random.choice(["flip", "cut", "delete"])
        data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        objects[name] = bytes(data) if way == "flip" else objects[name][: self.random.randrange(len(data))]
        if way == "delete":
            del objects[name]

    @property
    def harmed(self) -> bool:
        """Whether what was harmed is still not what the other place has."""
        if self.wrong is None:
            return False
        objects, others, name = self.wrong
        return name in others and objects.get(name) != others[name]

    def check_together(self, customer: Customer) -> int:
        """While something is harmed at one place: every set opens to what was remembered, from all places together."""
        found = find_sets(self.vault.places, str(customer.pk), self.vault.fingerprint, [])
        for one in found:
            assert _read(open_set(self.vault.places, self.vault.keys, str(customer.pk), one, [])) == self.remembered[one.id], self.seed
        complete = BackupSet.objects.filter(stream=customer.pk, state="made").values_list("pk", flat=True)
        assert {str(pk) for pk in complete} <= {one.id for one in found}, self.seed
        return len(found)

    def check(self, customer: Customer) -> int:
        """Every set that the catalogue calls whole at a place, or whose envelope verifies there, is there and opens to what was
        remembered, from that place alone. Returns how many were opened."""
        if self.harmed:
            return self.check_together(customer)
        opened = 0
        for place in self.vault.places:
            claimed = Copy.objects.filter(blob__kind="envelope", location=place.location, state="present", blob__stream=customer.pk)
            claimed = claimed.filter(blob__state="stored")  # what is condemned is on its way out
            notes: list[str] = []
            found = find_sets([place], str(customer.pk), self.vault.fingerprint, notes)
            assert notes == []
            assert {str(copy.blob.made_by_id) for copy in claimed.select_related("blob")} <= {one.id for one in found}
            for one in found:
                reader = open_set([place], self.vault.keys, str(customer.pk), one, notes)
                assert _read(reader) == self.remembered[one.id], (self.seed, one.id)
                opened += 1
        return opened


def content_of(customer: Customer) -> dict[str, list[str]]:
    """All the customer's rows, history rows and the digests of its files, as a set would hold them."""
    found: dict[str, list[str]] = {}
    for protected in registry.of_stream(customer.pk):
        found[f"rows/{protected.label}"] = [rows.instance_json(one) for one in protected.rows(customer.pk).order_by("pk")]
        history = protected.history_model.objects.filter(history_stream=customer.pk).order_by("pk")
        found[f"history/{protected.label}"] = [rows.instance_json(one) for one in history]
    return found


def _read(reader: Any) -> dict[str, list[str]]:
    found = {}
    for part in reader.parts:
        lines = [line.decode() for line in reader.lines(part)]
        if part.what in ("rows", "history"):
            found[f"{part.what}/{part.model}"] = lines
        if part.what == "files":
            _read_files(reader, lines)
    return found


def _read_files(reader: Any, lines: list[str]) -> None:
    import hashlib
    import json

    for entry in map(json.loads, lines):
        data = b"".join(reader.file_pieces(entry["parts"]))
        assert hashlib.sha256(data).hexdigest() == entry["sha256"], entry
