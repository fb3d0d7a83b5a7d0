"""Finding one item again: in the live data and its history, which the database has, and in the sets of the locations (P14).

History knows every item that ever was, so a look there answers at once, and the numbers of its changes tell which sets and segments hold
them. What history does not know (it was lost, or is another database's) is looked for in the sets themselves, which takes its time.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import reduce
from operator import or_
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Cast

from audit import registry, rows
from audit.models import JournalRow
from audit.registry import Protected
from backups.models import BackupSet
from backups.purge import listed
from backups.read_leases import reading, staying
from backups.reading import FoundSet, Reader, find_sets, open_set
from backups.vault import Vault

MOST_ITEMS = 20
MOST_VERSIONS = 100
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class InSet:
    """A set that holds a version."""

    id: str
    night: date


@dataclass(frozen=True, slots=True)
class Version:
    """One change of an item: `kind` is `+`, `~` or `-`; without a `number` it waits to be shipped. `sets` newest first."""

    number: int | None
    history_id: int
    at: datetime
    who: str
    why: str
    kind: str
    reference: str
    segment: int | None = None
    sets: tuple[InSet, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """One object that the text was found in, its versions newest first (`more` when there are older ones). `reference` is what it is
    called now, or was last; `restore --only MODEL:REFERENCE` brings it with its whole history."""

    model: str
    key: str
    reference: str
    live: bool
    versions: tuple[Version, ...]
    more: bool = False

    @property
    def only(self) -> str:
        return f"{self.model}:{self.reference}"


@dataclass(frozen=True, slots=True)
class Found:
    """`more`: there are further items; a longer text finds fewer."""

    items: tuple[Item, ...]
    more: bool
    notes: tuple[str, ...] = ()


# In the database


def find(stream: uuid.UUID, text: str, protected: Iterable[Protected] | None = None, *, most: int = MOST_ITEMS) -> Found:
    """The items of the customer that are or were called so, or in which the text stands or stood; small and large letters are one.

    `protected` are the models that may be looked at; all of the customer's when left out.
    """
    items: list[Item] = []
    sets = _numbered_sets(stream)
    for one in registry.of_stream(stream) if protected is None else protected:
        keys = _keys(one, stream, text, most + 1 - len(items))
        items += _items(one, stream, keys, sets)
        if len(items) > most:
            break
    return Found(tuple(items[:most]), len(items) > most)


def item(stream: uuid.UUID, protected: Protected, key: str) -> Item | None:
    """One object of the customer with its versions; None when it has no such object and never had."""
    found = _items(protected, stream, [protected.model._meta.pk.to_python(key)], _numbered_sets(stream))
    return found[0] if found else None


def _keys(protected: Protected, stream: uuid.UUID, text: str, most: int) -> list[Any]:
    """The primary keys, those with the newest matching version first."""
    pk = str(protected.model._meta.pk.attname)
    history: Any = models.QuerySet(protected.history_model).filter(history_stream=stream)
    matching = _matching(protected, text)
    casts = {f"text_of_{name}": Cast(name, models.TextField()) for name, _ in _text_columns(protected)}
    found = history.annotate(**casts).filter(matching).order_by().values(pk).annotate(newest=models.Max("history_id"))
    return [row[pk] for row in found.order_by("-newest")[:most]]


def _matching(protected: Protected, text: str) -> models.Q:
    wanted = [
        models.Q(**{f"text_of_{name}__icontains": form})
        for name, kind in _text_columns(protected)
        for form in (json_forms(text) if kind == "json" else {text})
    ]
    pk = protected.model._meta.pk
    if isinstance(pk, models.UUIDField) or (protected.reference == "pk" and text.isdecimal() and len(text) < 19):
        with suppress(ValidationError, ValueError):  # it is no key, but may be a text
            wanted.append(models.Q(**{str(pk.attname): pk.to_python(text)}))
    return reduce(or_, wanted, models.Q(pk__in=[]))


def json_forms(text: str) -> set[str]:
    """How the text may stand inside JSON: as it is, and with its marks escaped."""
    return {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}


def _text_columns(protected: Protected) -> list[tuple[str, str]]:
    """The columns of its rows that hold text, with their kind."""
    kinds = ((one.name, rows.kind_of(one)) for one in protected.model._meta.concrete_fields if not one.is_relation)
    return [(name, kind) for name, kind in kinds if kind in ("text", "json")]


def _items(protected: Protected, stream: uuid.UUID, keys: Sequence[Any], sets: Sequence[tuple[int, InSet]]) -> list[Item]:
    pk, reference = str(protected.model._meta.pk.attname), _reference(protected)
    live = set(protected.rows(stream).filter(pk__in=keys).values_list("pk", flat=True))
    found = []
    for key in keys:
        history: Any = models.QuerySet(protected.history_model).filter(**{pk: key}, history_stream=stream).order_by("-history_id")
        newest = list(history[: MOST_VERSIONS + 1])
        if newest:
            versions = _versions(protected, newest[:MOST_VERSIONS], sets)
            called = str(getattr(newest[0], reference))
            found.append(Item(protected.label, str(key), called, key in live, versions, len(newest) > MOST_VERSIONS))
    return found


def _versions(protected: Protected, newest: Sequence[Any], sets: Sequence[tuple[int, InSet]]) -> tuple[Version, ...]:
    journal = JournalRow.objects.filter(model=protected.label, history_id__in=[row.history_id for row in newest])
    numbers = {row[0]: row[1:] for row in journal.values_list("history_id", "number", "segment", "written_at")}
    found = []
    for row in newest:
        number, segment, at = numbers.get(row.history_id, (None, None, row.history_date))
        held = tuple(one for last, one in sets if number is not None and last >= number)
        why, called = row.history_change_reason or "", str(getattr(row, _reference(protected)))
        found.append(Version(number, row.history_id, at, row.history_actor, why, row.history_type, called, segment, held))
    return tuple(found)


def _reference(protected: Protected) -> str:
    return str(protected.model._meta.pk.attname) if protected.reference == "pk" else protected.reference


def _numbered_sets(stream: uuid.UUID) -> list[tuple[int, InSet]]:
    """The sets that hold numbered changes, newest first, each with the newest number in it."""
    made = BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE, journal_number__isnull=False).order_by("-started_at")
    return [(number or 0, InSet(str(pk), night)) for pk, night, number in made.values_list("pk", "night", "journal_number")]


# In the sets


@dataclass
class _Seen:
    """What the sets told of one item."""

    model: str
    key: str
    versions: dict[int, Version] = field(default_factory=dict)
    gone: bool = True


def find_in_sets(vault: Vault, stream: uuid.UUID, text: str, *, most: int = MOST_ITEMS, progress: Progress = lambda _: None) -> Found:
    """The same from the sets alone, each read whole, the newest first. Of the database nothing is asked but what was purged since, which is
    not found.

    Raises `NoLocation`, `KeysMissing`, `NowhereWhole`, `BadManifest`.
    """
    places, troubles = vault.usable()
    notes = [f"{name} cannot be used ({why})" for name, why in troubles.items()]
    seen: dict[tuple[str, str], _Seen] = {}
    more = False
    for found in staying(find_sets(places, str(stream), vault.fingerprint, notes)) if places else ():
        progress(f"the set for the night of {found.envelope['night']}")
        with reading(found.id, "find", vault.clock) as held:
            opened_set = open_set(places, vault.keys, str(stream), found, notes, keep=held.keep)
            reader = listed.suppressing(vault, places, stream, opened_set)
            more = _look_through(reader, found, text, most, seen, progress) or more
    items = [
        Item(one.model, one.key, versions[0].reference, not one.gone, tuple(versions))
        for one in seen.values()
        for versions in [sorted(one.versions.values(), key=lambda version: -version.history_id)]
    ]
    return Found(tuple(items), more, tuple(dict.fromkeys(notes)))


def _look_through(reader: Reader, found: FoundSet, text: str, most: int, seen: dict[tuple[str, str], _Seen], progress: Progress) -> bool:
    """Adds what one set tells; returns whether something was left out because it is too much."""
    left_out = False
    for part in reader.parts:
        rows_part = reader.part("rows", part.model)
        if part.what != "history" or rows_part is None:
            continue
        progress(f"history of {part.model}: {part.rows:,} rows of the set for {found.envelope['night']}")
        keys: set[str] = set()
        for row in _rows_with(reader.lines(part), text):
            key = str(row[rows_part.key])
            if len(seen) >= most and (part.model, key) not in seen:
                left_out = True
                continue
            keys.add(key)
            seen.setdefault((part.model, key), _Seen(part.model, key))
        for line in reader.lines(part) if keys else ():
            row = json.loads(line)
            if str(row[rows_part.key]) in keys:
                _note(seen[part.model, str(row[rows_part.key])], row, rows_part.reference, found)
    return left_out


def _rows_with(lines: Iterable[bytes], text: str) -> Iterator[dict[str, Any]]:
    """The rows in one of whose own values the text stands."""
    needles = [form.lower() for form in json_forms(text)]
    for line in lines:
        if any(needle in line.decode().lower() for needle in needles):
            row = json.loads(line)
            own = json.dumps({name: value for name, value in row.items() if not name.startswith("history_")}, ensure_ascii=False)
            if any(needle in own.lower() for needle in needles):
                yield row


def _note(seen: _Seen, row: dict[str, Any], reference: str, found: FoundSet) -> None:
    history_id = row["history_id"]
    held = InSet(found.id, date.fromisoformat(found.envelope["night"]))
    before = seen.versions.get(history_id)
    if not seen.versions or history_id >= max(seen.versions):
        seen.gone = row["history_type"] == "-"
    seen.versions[history_id] = Version(
        None,
        history_id,
        datetime.fromisoformat(row["history_date"]),
        row["history_actor"],
        row["history_change_reason"] or "",
        row["history_type"],
        str(row.get(reference)),
        None,
        (*(before.sets if before else ()), held),
    )
