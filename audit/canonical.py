"""Canonical JSON: one text for one value, whichever database it came from (pure).

Object keys in the order of their code points, no white space, text as UTF-8 with only `"`, `\\` and control characters escaped (as RFC 8785
does). Numbers without a fraction are written as integers (`1.0` and `1e3` become `1` and `1000`): PostgreSQL's jsonb forgets
how they were written, so we do too.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

MAX_DEPTH = 200
MAX_BITS = 4000


class NotCanonical(ValueError):
    """A value that one of our databases would refuse or change: NUL, a lone surrogate, NaN, a key that is not text."""


def check_text(text: str) -> str:
    """`text` itself; `NotCanonical` when PostgreSQL or UTF-8 could not hold it."""
    if "\x00" in text:
        raise NotCanonical("holds a NUL character, which PostgreSQL cannot store")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotCanonical("holds a lone surrogate (half of a character), which no UTF-8 text can store") from None
    return text


def normal(value: Any, depth: int = 0) -> Any:
    """`value` with its numbers in their one form; `NotCanonical` for what is not JSON on every engine."""
    if isinstance(value, str):
        return check_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _normal_integer(value)
    if depth > MAX_DEPTH:
        raise NotCanonical(f"is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, float):
        return _normal_number(value)
    if isinstance(value, list | tuple):
        return [normal(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_normal_key(key): normal(item, depth + 1) for key, item in value.items()}
    raise NotCanonical(f"holds a {type(value).__name__}, which is not JSON")


def _normal_integer(value: int) -> int:
    if value.bit_length() > MAX_BITS:
        raise NotCanonical("holds a whole number of more than 1200 digits")
    return int(value)


def _normal_number(value: float) -> int | float:
    if value != value or value in (float("inf"), float("-inf")):
        raise NotCanonical("holds a number that is not finite")
    # By its shortest decimal form, as PostgreSQL reads it: int(1e23) would be 99999999999999991611392.
    return int(Decimal(repr(value))) if value.is_integer() else value


def _normal_key(key: Any) -> str:
    if not isinstance(key, str):
        raise NotCanonical(f"has the key {key!r}, which is not text")
    return check_text(key)


def dumps(value: Any) -> str:
    """The canonical text of `value`; `NotCanonical` when it has none."""
    return json.dumps(normal(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def dump_bytes(value: Any) -> bytes:
    """The canonical text of `value` as UTF-8."""
    return dumps(value).encode()
