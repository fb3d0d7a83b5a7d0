"""What is to be restored: which customer, which set, and what of it (P14). The same for a folder and for a database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backups.customerkeys import refuse_destroyed, refuse_ended
from backups.errors import NoLocation, NoSet
from backups.locations import Place
from backups.manifest import Part
from backups.moments.making import open_moment
from backups.purge import listed
from backups.read_leases import reading, staying
from backups.reading import FoundSet, Reader, choose, find_sets, open_set
from backups.vault import Vault
from subscriptions.models import Customer


@dataclass(frozen=True, slots=True)
class UnknownCustomer:
    """A customer that this database does not know: the locations may hold its sets (a new database beside old backups)."""

    pk: uuid.UUID
    code: str = ""


def customer_called(text: str) -> Customer | UnknownCustomer:
    """The customer of that short code or id; an id that is not known here is an `UnknownCustomer`. Raises `Customer.DoesNotExist`."""
    try:
        ident = uuid.UUID(text)
    except ValueError:
        return _by_code(text)
    return Customer.objects.filter(pk=ident).first() or UnknownCustomer(ident)


def _by_code(code: str) -> Customer:
    try:
        return Customer.objects.all().by_code(code)
    except Customer.DoesNotExist as problem:
        raise Customer.DoesNotExist(f"{problem} A customer of another database is called by its id.") from None


@dataclass(frozen=True, slots=True)
class At:
    """A moment that somebody asked for; None is `now`, the newest second that sets and segments cover."""

    moment: datetime | None

    @classmethod
    def of_text(cls, text: str) -> At:
        """ISO 8601 with a zone, or `now`; `ValueError` says what is wrong."""
        if text == "now":
            return cls(None)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"{text!r} is no moment. Write it like 2026-03-04T02:05:09+01:00, or 'now'.") from None
        if moment.tzinfo is None:
            raise ValueError(f"{text!r} has no zone, and could be any of a day's hours. Write {text}Z for UTC, or {text}+01:00.")
        return cls(moment)

    def __str__(self) -> str:
        return self.moment.isoformat() if self.moment else "now"


@dataclass(frozen=True, slots=True)
class Only:
    """One model's rows, or one item of it; `reference` is what people call it."""

    model: str
    reference: str | None = None

    @classmethod
    def of_text(cls, text: str) -> Only:
        model, colon, reference = text.partition(":")
        return cls(model.lower(), reference if colon else None)

    def __str__(self) -> str:
        return self.model if self.reference is None else f"{self.model}:{self.reference}"

    def wants(self, part: Part) -> bool:
        return self.model in (part.model, part.model.rpartition(".")[2])


@contextmanager
def _chosen(vault: Vault, stream: uuid.UUID, set_id: str | None) -> Iterator[tuple[FoundSet, Reader]]:
    places, notes = _usable(vault, stream)
    found = choose(staying(find_sets(places, str(stream), vault.fingerprint, notes)), set_id, notes)
    with reading(found.id, "restore", vault.clock) as held:
        opened_set = open_set(places, vault.keys, str(stream), found, notes, keep=held.keep)
        yield found, listed.suppressing(vault, places, stream, opened_set)


@contextmanager
def opened(
    vault: Vault,
    stream: uuid.UUID,
    *,
    set_id: str | None = None,
    at: At | None = None,
    only: Only | None = None,
    progress: Callable[[str], None] = lambda _: None,
    from_nothing: bool = False,
) -> Iterator[tuple[FoundSet, Reader]]:
    """The stream's newest set or the one whose id begins so, or with `at` the state at that moment and the set that it is read from (with
    `from_nothing` also from segments alone); for the length of the block, in which the set does not go. What was wrong at the places is in
    the reader's notes.

    Raises `NoLocation`, `NoSet`, `StreamEnded`, `KeysMissing`, `NowhereWhole`, `BadManifest`, and with `at` also `NotCovered` and `Gap`.
    """
    if at is None:
        with _chosen(vault, stream, set_id) as chosen:
            yield chosen
        return
    places, notes = _usable(vault, stream)
    wants = only.wants if only else lambda _: True
    reader = open_moment(vault, places, str(stream), at.moment, notes, wants=wants, progress=progress, from_nothing=from_nothing)
    try:
        yield reader.found, listed.suppressing(vault, places, stream, reader)
    finally:
        reader.close()


def _usable(vault: Vault, stream: uuid.UUID) -> tuple[tuple[Place, ...], list[str]]:
    places, troubles = vault.usable()
    if not places:
        raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    refuse_destroyed(stream)
    refuse_ended(places, stream)
    return places, [f"{name} cannot be used ({why})" for name, why in troubles.items()]


class Selection:
    """The parts of a set that are wanted, and of each the lines. `NoSet` when the set holds nothing of the kind.

    `lines` of a model's rows and history come before `files` of it: those are the files that the rows named.
    """

    def __init__(self, reader: Reader, only: Only | None) -> None:
        self.reader, self.only = reader, only
        self.parts = [part for part in reader.parts if only is None or only.wants(part)]
        if not self.parts:
            raise NoSet(f"The set holds no model {only.model if only else ''!r}; it holds {', '.join(self._models())}.")
        self._keys = self._keys_of_item()
        self._named: dict[str, set[str]] = {}

    @property
    def takes_all(self) -> bool:
        """Whether every row of the wanted parts is wanted."""
        return self._keys is None

    @property
    def keys(self) -> set[Any] | None:
        """The primary keys that the one item ever had; None when all rows are wanted."""
        return self._keys

    def lines(self, part: Part) -> Iterator[bytes]:
        """The wanted rows of a part, each checked, without its line end."""
        if self._keys is None:
            yield from self.reader.lines(part)
            return
        key, names = self._row_key(part), self._named.setdefault(part.model, set())
        for line in self.reader.lines(part):
            row = json.loads(line)
            if row[key] in self._keys:
                names.update(row[columns[0]] for columns in part.files if row[columns[0]])
                yield line

    def files(self, part: Part) -> Iterator[dict[str, Any]]:
        """The wanted files of a part of the kind `files`, as docs/format.md has them."""
        named = self._named.get(part.model)
        for line in self.reader.lines(part):
            entry = json.loads(line)
            if named is None or entry["name"] in named:
                yield entry

    def _keys_of_item(self) -> set[Any] | None:
        """For one item: the primary keys that its reference ever stood with, so that its whole history comes along."""
        if self.only is None or self.only.reference is None:
            return None
        keys = {key for part in self.parts if part.what in ("rows", "history") for key in self._keys_in(part, self.only.reference)}
        if not keys:
            raise NoSet(f"The set holds no {self.only.model} called {self.only.reference!r}, not even in its history.")
        return keys

    def _keys_in(self, part: Part, reference: str) -> Iterator[Any]:
        key = self._row_key(part)
        for line in self.reader.lines(part):
            row = json.loads(line)
            if str(row.get(part.reference)) == reference:
                yield row[key]

    def _row_key(self, part: Part) -> str:
        rows = self.reader.part("rows", part.model)
        return rows.key if rows is not None else part.key

    def _models(self) -> list[str]:
        return sorted({part.model for part in self.reader.parts if part.what == "rows"})
