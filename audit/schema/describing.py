"""The protected models as plain data: what a schema version says of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from audit import canonical, rows
from audit.registry import Protected

# By the model's label: `customer` (the path to it; empty for the system stream), `reference`, `past` (the label of its history model),
# `rows` and `history` (their columns as `audit.rows` describes them).
Described = dict[str, dict[str, Any]]


def described(models: Iterable[Protected]) -> Described:
    """What tells one version of the schema from another."""
    return {one.label: _one(one) for one in models}


def digest_of(models: Described) -> str:
    """SHA-256 (hex) of the models' canonical JSON."""
    return hashlib.sha256(canonical.dump_bytes(models)).hexdigest()


def shape_digest(history: list[dict[str, Any]]) -> str:
    """What a `RowShape` of these columns of history has as its digest."""
    return hashlib.sha256(canonical.dump_bytes(history)).hexdigest()


def _one(protected: Protected) -> dict[str, Any]:
    return {
        "customer": protected.customer,
        "reference": protected.reference,
        "past": protected.history_model._meta.label_lower,
        "rows": [column.described() for column in rows.columns(protected.model)],
        "history": [column.described() for column in rows.columns(protected.history_model)],
    }
