"""What a change took and what it gave, value by value and whole: for reports that must leave nothing out (P8).

The pages about history shorten (`audit.history_pages`); here nothing is. A value that could be taken for one of the marks, or for a value
of another kind, stands in quotes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import models

from audit import canonical, rows
from audit.fields import TrackedFileField
from audit.history_pages import ABSENT, NOTHING, Names, file_name, label_of, plain, shown_fields

EMPTY = "(empty)"
NOT_KNOWN = "(not known)"
MARKS = frozenset({NOTHING, ABSENT, EMPTY, NOT_KNOWN})
_LIKE_JSON = re.compile(r"\s*(?:true|false|null|-?\d[\d.eE+-]*|[\[{\"].*)\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a change, before and after it. A record's JSON is told key by key (`Data: colour`)."""

    field: str
    old: str
    new: str


def values(model: type[models.Model], row: Any, before: Any | None, names: Names) -> list[Value]:
    """What the change of this history row did, held against the row before it. What was added had nothing before; of what was deleted the
    last values stand as the old ones; where the row before is in history no more, the old ones are not known."""
    if row.history_type == "-":
        return [Value(label, text, NOTHING) for label, text in _texts(model, row, names) if text != NOTHING]
    if row.history_type == "+":
        return [Value(label, NOTHING, text) for label, text in _texts(model, row, names) if text != NOTHING]
    if before is None:
        return [Value(label, NOT_KNOWN, text) for label, text in _texts(model, row, names)]
    return [value for field in shown_fields(model) for value in _of_field(field, before, row, names)]


def _of_field(field: Any, before: Any, row: Any, names: Names) -> Iterable[Value]:
    old, new = getattr(before, field.attname), getattr(row, field.attname)
    if isinstance(field, TrackedFileField):
        if file_name(old) != file_name(new) or _digest(field, before) != _digest(field, row):
            yield Value(label_of(field), _text(field, before, names), _text(field, row, names))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}, key=str):
            if key not in old or key not in new or canonical.dumps(old[key]) != canonical.dumps(new[key]):
                yield Value(f"{label_of(field)}: {key}", *(_json(one[key]) if key in one else ABSENT for one in (old, new)))
    elif old != new or type(old) is not type(new):
        yield Value(label_of(field), _text(field, before, names), _text(field, row, names))


def _texts(model: type[models.Model], row: Any, names: Names) -> Iterable[tuple[str, str]]:
    for field in shown_fields(model):
        value = getattr(row, field.attname)
        if isinstance(value, dict) and rows.kind_of(field) == "json":
            yield from ((f"{label_of(field)}: {key}", _json(one)) for key, one in value.items())
        else:
            yield label_of(field), _text(field, row, names)


def _text(field: Any, row: Any, names: Names) -> str:
    value = getattr(row, field.attname)
    if isinstance(field, TrackedFileField):
        if not file_name(value):
            return NOTHING
        return f"{getattr(row, field.size_field):,} bytes, SHA-256 {_digest(field, row)}"
    if value is None:
        return NOTHING
    if field.is_relation:
        return names[field.name].get(value, f"{field.related_model._meta.verbose_name} {value}, which is there no more")
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if rows.kind_of(field) == "json":
        return _json(value)
    if isinstance(value, bytes | memoryview):
        return f"{len(value):,} bytes, SHA-256 {hashlib.sha256(value).hexdigest()}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()  # to the microsecond: two that differ look different
    return _told_apart(value) if isinstance(value, str) else plain(value)


def _digest(field: TrackedFileField, row: Any) -> str:
    return str(getattr(row, field.digest_field))


def _told_apart(text: str) -> str:
    if text == "":
        return EMPTY
    return json.dumps(text, ensure_ascii=False) if text in MARKS else text


def _json(value: Any) -> str:
    """A value of a record's data: text as it is, unless it could be taken for a number, a list or the like; all else as JSON."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False) if value in MARKS or _LIKE_JSON.fullmatch(value) else value or EMPTY
