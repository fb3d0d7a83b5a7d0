"""One row as canonical JSON, the same from SQLite and PostgreSQL: the kinds of columns, and values to JSON and back.

Shapes (docs/format.md): integers and booleans as such; text as text; datetimes `2026-01-31T23:59:59.000000Z` in UTC, always with six
digits; dates and times ISO 8601; decimals as text with the column's number of places; durations as integer microseconds;
binary as base64; UUIDs with dashes; JSON columns as the JSON they hold. Keys are column names.
"""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Context, Decimal
from functools import cache
from typing import Any

from django.db import models
from django.utils.dateparse import parse_date, parse_datetime, parse_time

from audit import canonical

KIND_OF_FIELD = {
    **dict.fromkeys(("CharField", "TextField", "FileField", "FilePathField", "SlugField", "URLField", "EmailField"), "text"),
    **dict.fromkeys(("AutoField", "BigAutoField", "SmallAutoField", "IntegerField", "BigIntegerField", "SmallIntegerField"), "integer"),
    **dict.fromkeys(("PositiveIntegerField", "PositiveBigIntegerField", "PositiveSmallIntegerField"), "integer"),
    "BooleanField": "boolean",
    "DateTimeField": "datetime",
    "DateField": "date",
    "TimeField": "time",
    "DurationField": "duration",
    "UUIDField": "uuid",
    "DecimalField": "decimal",
    "FloatField": "float",
    "BinaryField": "binary",
    "JSONField": "json",
}


class UnknownKind(TypeError):
    """A field whose values have no canonical form here."""


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is the column's; `attname` the attribute's; `places` counts a decimal's digits after the point."""

    name: str
    attname: str
    kind: str
    places: int = 0
    null: bool = False

    def described(self) -> dict[str, Any]:
        """For a set's manifest: enough to build the column again."""
        return {"name": self.name, "kind": self.kind, "null": self.null} | ({"places": self.places} if self.kind == "decimal" else {})


def kind_of(field: Any) -> str:
    """The kind of a field's column (a foreign key has its target's; a field class may name it as `canonical_kind`); `UnknownKind` else."""
    if field.is_relation:
        return kind_of(field.target_field)
    try:
        return getattr(field, "canonical_kind", None) or KIND_OF_FIELD[field.get_internal_type()]
    except KeyError:
        raise UnknownKind(f"{field} is a {field.get_internal_type()}, which has no canonical form") from None


@cache
def columns(model: type[models.Model]) -> tuple[Column, ...]:
    """The model's columns in the order of their names."""
    found = (
        Column(str(field.column), field.attname, kind_of(field), getattr(field, "decimal_places", 0) or 0, field.null)
        for field in model._meta.concrete_fields
    )
    return tuple(sorted(found, key=lambda column: column.name))


def to_json(column: Column, value: Any) -> Any:
    """The JSON value of one column of one row, from the value that Django's ORM gives for it."""
    return None if value is None else _TO_JSON[column.kind](column, value)


def from_json(column: Column, value: Any) -> Any:
    """The value for Django's ORM, from the JSON value; the inverse of `to_json`."""
    return None if value is None else _FROM_JSON[column.kind](value)


def row_json(model: type[models.Model], values: dict[str, Any]) -> str:
    """The canonical text of one row, from its values by attribute name."""
    return canonical.dumps({column.name: to_json(column, values[column.attname]) for column in columns(model)})


def instance_json(instance: models.Model) -> str:
    """The canonical text of the row that `instance` stands for."""
    return row_json(type(instance), {column.attname: getattr(instance, column.attname) for column in columns(type(instance))})


def instance_of(model: type[models.Model], text: bytes | str) -> models.Model:
    """An unsaved instance of the row whose canonical text that is; the inverse of `instance_json`."""
    row = json.loads(text)
    return model(**{column.attname: from_json(column, row[column.name]) for column in columns(model)})


def _utc(_: Column, value: datetime) -> str:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


_EXACT = Context(prec=2000)


def _places(column: Column, value: Decimal) -> str:
    number = _EXACT.quantize(Decimal(value), _EXACT.scaleb(Decimal(1), -column.places))
    return format(abs(number) if number.is_zero() else number, "f")  # no database keeps the sign of zero


_TO_JSON: dict[str, Any] = {
    "integer": lambda _, value: int(value),
    "text": lambda _, value: str(value),
    "boolean": lambda _, value: bool(value),
    "json": lambda _, value: value,
    "uuid": lambda _, value: str(value),
    "datetime": _utc,
    "date": lambda _, value: value.isoformat(),
    "time": lambda _, value: value.isoformat("microseconds"),
    "decimal": _places,
    "float": lambda _, value: float(value),
    "binary": lambda _, value: base64.b64encode(bytes(value)).decode(),
    "duration": lambda _, value: value // timedelta(microseconds=1),
}


def _parsed(parse: Any) -> Any:
    def read(text: str) -> datetime | date | time:
        value = parse(text)
        if value is None:
            raise ValueError(f"{text!r} is not a date or time")
        return value

    return read


_FROM_JSON: dict[str, Any] = {
    "integer": int,
    "text": str,
    "boolean": bool,
    "json": lambda value: value,
    "uuid": uuid.UUID,
    "datetime": _parsed(parse_datetime),
    "date": _parsed(parse_date),
    "time": _parsed(parse_time),
    "decimal": Decimal,
    "float": float,
    "binary": base64.b64decode,
    "duration": lambda value: timedelta(microseconds=value),
}
