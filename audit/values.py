"""Values that one database takes and another refuses are refused at the base save, on all of them (design section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django.db import models
from django.db.backends.base.operations import BaseDatabaseOperations

from audit import canonical, rows
from audit.errors import BypassRefused, Unstorable

Check = Callable[[models.Field, Any], None]


def check_values(instance: models.Model) -> None:
    """Puts each value into its column's Python type and refuses what PostgreSQL or SQLite would refuse or change.

    Raises `Unstorable` (names the field) and `BypassRefused` for expressions such as `F()`, whose history row nobody could write.
    """
    for field, check in _checks(type(instance)):
        value = getattr(instance, field.attname)
        if hasattr(value, "resolve_expression"):
            raise BypassRefused(
                f"{instance._meta.label}.{field.name} is set to an expression (F() or the like): history could not tell the value. "
                "Read the row, compute the value, and save() it, or use objects.tracked_update(...)."
            )
        if value is None:
            continue
        try:
            check(field, value)
        except canonical.NotCanonical as problem:
            raise Unstorable(field.name, str(problem)) from None


@lru_cache(maxsize=None)
def _checks(model: type[models.Model]) -> tuple[tuple[models.Field, Check], ...]:
    return tuple((field, _CHECKS[rows.kind_of(field)]) for field in model._meta.concrete_fields)


def _text(field: models.Field, value: Any) -> None:
    text = canonical.check_text(str(value))
    limit = field.max_length
    if limit is not None and len(text) > limit:
        raise Unstorable(field.name, f"has {len(text)} characters; at most {limit} fit")


def _json(field: models.Field, value: Any) -> None:
    canonical.normal(value)


def _integer(field: models.Field, value: Any) -> None:
    target = field.target_field if field.is_relation else field
    low, high = BaseDatabaseOperations.integer_field_ranges.get(target.get_internal_type(), (-(2**63), 2**63 - 1))
    if not low <= int(value) <= high:
        raise Unstorable(field.name, f"is {value}, outside of {low} to {high}")


def _float(field: models.Field, value: Any) -> None:
    if not math.isfinite(float(value)):
        raise Unstorable(field.name, f"is {value}; only finite numbers are kept alike by all databases")


def _decimal(field: Any, value: Any) -> None:
    number = Decimal(value)
    if not number.is_finite():
        raise Unstorable(field.name, f"is {value}; only finite numbers are kept")
    places, whole = field.decimal_places, field.max_digits - field.decimal_places
    if number != number.quantize(Decimal(1).scaleb(-places)) or abs(number) >= 10**whole:
        raise Unstorable(field.name, f"is {value}; at most {whole} digits before and {places} after the point fit")


def _datetime(field: models.Field, value: Any) -> None:
    if isinstance(value, datetime) and value.tzinfo is None:
        raise Unstorable(field.name, f"is {value}, a time without a zone; say which zone it is in")


def _anything(field: models.Field, value: Any) -> None:
    """Dates, times, booleans, UUIDs and binary have one form in all databases."""


_CHECKS: dict[str, Check] = {
    **dict.fromkeys(("date", "time", "boolean", "uuid", "binary", "duration"), _anything),
    "text": _text,
    "json": _json,
    "integer": _integer,
    "float": _float,
    "decimal": _decimal,
    "datetime": _datetime,
}
