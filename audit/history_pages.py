"""The history of one object as people read it: who, when, why, from where, and what changed; and the list of deleted objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.text import Truncator, capfirst

from audit import canonical, registry, rows, sizes
from audit.fields import TrackedFileField
from audit.moments import in_utc_to_the_second

NOTHING = "—"
ABSENT = "(not there)"
WORDS = {"+": "Added", "~": "Changed", "-": "Deleted"}
SHORT = 240
DIGEST_DIGITS = 12

# For each foreign key the words for the rows that it points at.
Names = dict[str, dict[Any, str]]


@dataclass(frozen=True, slots=True)
class Change:
    """One value that changed. `old` is None where there was none before, as in a new object."""

    label: str
    old: str | None
    new: str


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A file as one version of an object names it."""

    field: str
    label: str
    size: int


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a change is kept: its number in its stream's chain (None while it waits for one), the segment that it was shipped in, and in
    words, each with the kind of its badge, at which places it is durable."""

    number: int | None
    segment: int | None
    words: tuple[tuple[str, str], ...]


# By a model's label and ids of its history rows.
Keeper = Callable[[str, Sequence[int]], dict[int, Kept]]
_keepers: list[Keeper] = []


def register_keeper(keeper: Keeper) -> None:
    """Who knows where changes are kept: the app that keeps them, when it is loaded."""
    if keeper not in _keepers:
        _keepers.append(keeper)


@dataclass(frozen=True, slots=True)
class Entry:
    """One history row in words; `kept` is None where nobody keeps changes, and for a history row that the journal tells nothing of."""

    row: Any
    kind: str
    word: str
    changes: list[Change]
    files: list[StoredVersion]
    kept: Kept | None = None


def rows_of(model: type[models.Model], key: str) -> Any:
    """The history rows of the object with that primary key (as text), newest first; none when it is no such key."""
    pk: Any = model._meta.pk
    history = registry.of(model).history_model._default_manager
    try:
        return history.filter(**{pk.attname: pk.to_python(key)}).order_by("-history_id")
    except (ValidationError, ValueError):
        return history.none()


def newest_version(instance: models.Model) -> int | None:
    """The id of the newest history row of an object; None for one that has none."""
    return rows_of(type(instance), str(instance.pk)).values_list("history_id", flat=True).first()


def entries(model: type[models.Model], newest_first: Sequence[Any], older: Any | None) -> list[Entry]:
    """The rows in words, each compared with the one before it; `older` is the row before the last of them."""
    names = names_of(model, [*newest_first, *([older] if older else [])])
    pairs = zip(newest_first, [*newest_first[1:], older], strict=True)
    kept = _kept(model, [row.history_id for row in newest_first])
    return [_entry(model, row, before, names, kept.get(row.history_id)) for row, before in pairs]


def _kept(model: type[models.Model], history_ids: Sequence[int]) -> dict[int, Kept]:
    found: dict[int, Kept] = {}
    for keeper in _keepers:
        found |= keeper(model._meta.label_lower, history_ids)
    return found


def values_of(model: type[models.Model], row: Any) -> list[Change]:
    """Every value of one version, in full."""
    return [Change(label, None, text) for label, text in _texts(model, row, names_of(model, [row]), limit=None)]


def differences(model: type[models.Model], before: Any, after: Any) -> list[Change]:
    """What differs between two versions, which need not be stored."""
    names = names_of(model, [before, after])
    return [change for field in shown_fields(model) for change in _field_changes(field, before, after, names)]


def files_of(model: type[models.Model], row: Any) -> list[StoredVersion]:
    """The stored files that a history row (or a live row) names."""
    return [
        StoredVersion(field.name, label_of(field), getattr(row, field.size_field))
        for field in registry.of(model).files
        if file_name(getattr(row, field.attname))
    ]


def _entry(model: type[models.Model], row: Any, before: Any | None, names: Names, kept: Kept | None) -> Entry:
    return Entry(row, row.history_type, WORDS[row.history_type], _changes(model, row, before, names), files_of(model, row), kept)


def _changes(model: type[models.Model], row: Any, before: Any | None, names: Names) -> list[Change]:
    if row.history_type == "-":
        return []
    if row.history_type == "+" or before is None:
        return [Change(label, None, text) for label, text in _texts(model, row, names, limit=SHORT) if text != NOTHING]
    return [change for field in shown_fields(model) for change in _field_changes(field, before, row, names)]


def _field_changes(field: models.Field, before: Any, row: Any, names: Names) -> Iterable[Change]:
    old, new = getattr(before, field.attname), getattr(row, field.attname)
    if isinstance(field, TrackedFileField):
        if file_name(old) != file_name(new):
            yield Change(label_of(field), _file_text(field, before), _file_text(field, row))
    elif old == new:
        return
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}, key=str):
            if key not in old or key not in new or canonical.dumps(old[key]) != canonical.dumps(new[key]):
                yield Change(f"{label_of(field)}: {key}", json_words(old.get(key, ABSENT)), json_words(new.get(key, ABSENT)))
    else:
        yield Change(label_of(field), _text(field, before, names, SHORT), _text(field, row, names, SHORT))


def _texts(model: type[models.Model], row: Any, names: Names, *, limit: int | None) -> Iterable[tuple[str, str]]:
    for field in shown_fields(model):
        value = getattr(row, field.attname)
        if isinstance(value, dict) and rows.kind_of(field) == "json":
            yield from ((f"{label_of(field)}: {key}", json_words(one, limit)) for key, one in value.items())
        else:
            yield label_of(field), _text(field, row, names, limit)


def shown_fields(model: type[models.Model]) -> list[Any]:
    """What people want to read: not the key, nor the columns that say a file's digest and size, which stand with the file."""
    beside_files = {name for field in registry.of(model).files for name in (field.digest_field, field.size_field)}
    return [field for field in model._meta.concrete_fields if not field.primary_key and field.name not in beside_files]


def label_of(field: models.Field) -> str:
    return capfirst(str(field.verbose_name))


def _text(field: Any, row: Any, names: Names, limit: int | None) -> str:
    if isinstance(field, TrackedFileField):
        return _file_text(field, row)
    value = getattr(row, field.attname)
    if field.is_relation:
        value = names[field.name].get(value, value)
    elif field.choices:
        value = dict(field.flatchoices).get(value, value)
    return _shortened(plain(value), limit)


def plain(value: Any) -> str:
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return in_utc_to_the_second(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return f"{len(value)} bytes" if isinstance(value, bytes | memoryview) else str(value)


def json_words(value: Any, limit: int | None = SHORT) -> str:
    """A value of a record's data as people read it."""
    return _shortened(value if isinstance(value, str) and value else plain(value), limit)


def _shortened(text: str, limit: int | None) -> str:
    return Truncator(text).chars(limit) if limit else text


def file_name(value: Any) -> str:
    return str(getattr(value, "name", value) or "")


def _file_text(field: TrackedFileField, row: Any) -> str:
    if not file_name(getattr(row, field.attname)):
        return NOTHING
    return f"{sizes.in_units(getattr(row, field.size_field))}, SHA-256 {getattr(row, field.digest_field)[:DIGEST_DIGITS]}…"


def names_of(model: type[models.Model], versions: Sequence[Any]) -> Names:
    """One query for each foreign key, whatever the number of versions."""
    found: Names = {}
    for field in shown_fields(model):
        if field.is_relation:
            keys = {getattr(row, field.attname) for row in versions} - {None}
            found[field.name] = {one.pk: str(one) for one in field.related_model._base_manager.filter(pk__in=keys)} if keys else {}
    return found
