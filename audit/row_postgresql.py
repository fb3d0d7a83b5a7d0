"""The canonical text of a row as PostgreSQL makes it, in an expression that costs it little (measured: a million rows at a time).

Three things cost there: each `||` a call, each look for the function that writes a type as JSON, each time zone. So what is constant is
joined here and not there, and a column that holds one of a few known values is a CASE between constants.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from audit import rows

# Server version 17 has a function that looks for the value's type once and not for each row.
_HAS_JSON_SCALAR = 170000
MAX_CHOICES = 8


@dataclass(frozen=True, slots=True)
class _Form:
    """How a kind is written: `opening`, the expression for the column `{c}`, `closing`. `{cast}` is the column as text where it is
    text, in UTC where it is a moment; `{json}` is that as JSON."""

    expression: str
    opening: str = ""
    closing: str = ""


_FORMS = {
    "text": _Form("{json}::text"),
    "date": _Form("to_char({c},'YYYY-MM-DD')", '"', '"'),
    "integer": _Form("{c}::text"),
    "boolean": _Form("{c}::text"),
    "json": _Form("{c}"),
    "uuid": _Form("{c}::text", '"', '"'),
    "decimal": _Form("{c}::text", '"', '"'),
    # As JSON a moment costs half of to_char, and lacks the zeros at its end: taken where the sixth digit is none, and cut off after it.
    "datetime": _Form(
        'CASE WHEN {c}<>{c}::timestamptz(5) THEN {json}::text::varchar(27) ELSE to_char({cast},\'"\\""YYYY-MM-DD"T"HH24:MI:SS.US\') END',
        closing='Z"',
    ),
}


def text_of(
    model: type[models.Model], columns: Sequence[rows.Column], connection: BaseDatabaseWrapper, stream: uuid.UUID | None
) -> str | None:
    """SQL for the text of a row, null where a column is null that the model does not allow to be; None where a kind has no form here."""
    if any(column.kind not in _FORMS for column in columns):
        return None
    as_json = "JSON_SCALAR({c})" if connection.pg_version >= _HAS_JSON_SCALAR else "to_json({c})"  # type: ignore[attr-defined]
    quote = connection.ops.quote_name
    pieces: list[str] = []
    constant = "{"
    for at, column in enumerate(columns):
        constant += f'{"," if at else ""}"{column.name}":'
        form = _FORMS[column.kind]
        name = f"{quote(model._meta.db_table)}.{quote(column.name)}"
        cast = _cast(name, column.kind, connection)
        value = form.expression.format(c=name, cast=cast, json=as_json.format(c=cast))
        known = list(_known(model, column, name, stream))
        if known:
            cases = " ".join(f"WHEN {test} THEN {_literal(constant + text)}" for test, text in known)
            pieces.append(f"CASE {cases} ELSE {halved([_literal(constant + form.opening), value, *_closed(form)])} END")
            constant = ""
        else:
            pieces += [_literal(constant + form.opening), value]
            constant = form.closing
    return halved([*pieces, _literal(constant + "}")])


def _cast(name: str, kind: str, connection: BaseDatabaseWrapper) -> str:
    if kind == "datetime" and connection.timezone_name != "UTC":  # what the session is in costs nothing
        return f"({name} AT TIME ZONE 'UTC')"
    return f"{name}::text" if kind == "text" else name


def _closed(form: _Form) -> list[str]:
    return [_literal(form.closing)] if form.closing else []


def _known(model: type[models.Model], column: rows.Column, name: str, stream: uuid.UUID | None) -> Iterator[tuple[str, str]]:
    """Tests for values that are likely, each with the JSON text of that value."""
    if column.null:
        yield f"{name} IS NULL", "null"
    if column.kind == "uuid" and stream is not None:
        yield f"{name}='{stream}'", f'"{stream}"'
    if column.kind == "text":
        yield from ((f"{name}={_literal(choice)}", json.dumps(choice, ensure_ascii=False)) for choice in _choices(model, column))


def _choices(model: type[models.Model], column: rows.Column) -> list[str]:
    """Empty for a column with a collation of its own, for which another text may count as equal."""
    field = next(field for field in model._meta.concrete_fields if field.column == column.name)
    listed = field.choices and not getattr(field, "db_collation", None)
    choices = [value for value, _ in field.flatchoices if isinstance(value, str)] if listed else []
    return [value for value in choices if value.isprintable()][:MAX_CHOICES]


def _literal(text: str) -> str:
    """`%` is doubled for Django's parameters."""
    return "'" + text.replace("'", "''").replace("%", "%%") + "'"


def halved(parts: Sequence[str]) -> str:
    """Two halves at a time: each `||` copies the text so far, so a chain of them would copy its beginning again and again."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({halved(parts[:middle])}||{halved(parts[middle:])})"
