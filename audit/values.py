"""Values that one database takes and another refuses or changes are refused at the base save, on all of them (design section 4)."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

from audit import canonical, rows
from audit.errors import BypassRefused, Unstorable

Check = Callable[[Any, Any], None]

# What SQLite keeps of a decimal, which it stores as a floating-point number.
DECIMAL_DIGITS = 15


def check_values(instance: models.Model) -> None:
    """Puts each value into its column's Python type and refuses what PostgreSQL or SQLite would refuse or change.

    Raises `Unstorable` (names the field) and `BypassRefused` for expressions such as `F()`, whose history row nobody could write.
    """
    for field, python_type, check in _checks(type(instance)):
        value = getattr(instance, field.attname)
        if value is None:
            continue
        if type(value) is not python_type and python_type is not None:
            value = _converted(field, value, python_type)
            setattr(instance, field.attname, value)
        try:
            check(field, value)
        except canonical.NotCanonical as problem:
            raise Unstorable(field.name, str(problem)) from None


def _converted(field: Any, value: Any, python_type: type) -> Any:
    if hasattr(value, "resolve_expression"):
        raise BypassRefused(
            f"{field.model._meta.label}.{field.name} is set to an expression (F() or the like): history could not tell the value. "
            "Read the row, compute the value, and save() it, or use objects.tracked_update(...)."
        )
    if python_type is datetime and not isinstance(value, str | datetime):
        raise Unstorable(field.name, f"is {value!r}, which is not a time with a zone")
    try:
        converted = bytes(value) if python_type is bytes else field.to_python(value)
        lost = python_type is int and isinstance(value, float | Decimal) and converted != value
    except (ValidationError, TypeError, ValueError, ArithmeticError) as problem:
        why = "; ".join(problem.messages) if isinstance(problem, ValidationError) else str(problem)
        raise Unstorable(field.name, f"is {value!r:.100}, which the column cannot hold: {why}") from None
    if lost:
        raise Unstorable(field.name, f"is {value}, which is not a whole number")
    return converted


@cache
def _checks(model: type[models.Model]) -> tuple[tuple[models.Field, type | None, Check], ...]:
    return tuple((field, *_check_of(field)) for field in model._meta.concrete_fields)


def _check_of(field: models.Field) -> tuple[type | None, Check]:
    return (None, _file) if isinstance(field, models.FileField) else _CHECKS[rows.kind_of(field)]


def _file(field: models.Field, value: Any) -> None:
    if value._committed:  # what is not stored yet gets a name of our own
        _text(field, value.name or "")


def _text(field: models.Field, value: Any) -> None:
    text = canonical.check_text(str(value))
    limit = field.max_length
    if limit is not None and len(text) > limit:
        raise Unstorable(field.name, f"has {len(text)} characters; at most {limit} fit")


def _json(field: models.Field, value: Any) -> None:
    if hasattr(value, "resolve_expression"):
        _converted(field, value, dict)
    canonical.normal(value)


def _integer(field: Any, value: Any) -> None:
    target = field.target_field if field.is_relation else field
    low, high = BaseDatabaseOperations.integer_field_ranges.get(target.get_internal_type(), (-(2**63), 2**63 - 1))
    if not low <= value <= high:
        raise Unstorable(field.name, f"lies outside of {low} to {high}")


def _float(field: models.Field, value: Any) -> None:
    if not math.isfinite(value):
        raise Unstorable(field.name, f"is {value}; only finite numbers are kept alike by all databases")


def _decimal(field: Any, value: Any) -> None:
    if not value.is_finite():
        raise Unstorable(field.name, f"is {value}; only finite numbers are kept")
    _, digits, exponent = value.as_tuple()
    significant = "".join(map(str, digits)).strip("0")
    if not significant:
        return
    exponent += len(digits) - len("".join(map(str, digits)).rstrip("0"))
    places, whole = max(0, -exponent), value.adjusted() + 1
    if places > field.decimal_places or whole > field.max_digits - field.decimal_places:
        raise Unstorable(
            field.name,
            f"is {value}; at most {field.max_digits - field.decimal_places} digits before and {field.decimal_places} after the point fit",
        )
    if len(significant) > DECIMAL_DIGITS:
        raise Unstorable(field.name, f"is {value}; all databases keep the first {DECIMAL_DIGITS} digits alike, and no more")


def _datetime(field: models.Field, value: Any) -> None:
    if value.tzinfo is None:
        raise Unstorable(field.name, f"is {value}, a time without a zone; say which zone it is in")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise Unstorable(field.name, f"is {value}, which lies outside of the years 1 to 9999 in UTC") from None


def _time(field: models.Field, value: Any) -> None:
    if value.tzinfo is not None:
        raise Unstorable(field.name, f"is {value}, a time of day with a zone, which the databases do not keep")


def _duration(field: models.Field, value: Any) -> None:
    if abs(value // timedelta(microseconds=1)) >= 2**63:
        raise Unstorable(field.name, f"is {value}, longer than the databases can count in microseconds")


def _anything(field: models.Field, value: Any) -> None:
    """Dates, booleans, UUIDs and binary have one form in all databases."""


_CHECKS: dict[str, tuple[type | None, Check]] = {
    "text": (str, _text),
    "json": (None, _json),
    "integer": (int, _integer),
    "boolean": (bool, _anything),
    "uuid": (uuid.UUID, _anything),
    "float": (float, _float),
    "decimal": (Decimal, _decimal),
    "datetime": (datetime, _datetime),
    "date": (date, _anything),
    "time": (time, _time),
    "duration": (timedelta, _duration),
    "binary": (bytes, _anything),
}
