"""The live rows of one customer, as a set has them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

from django.db import connections, models, router

from audit import registry, rows
from audit.registry import Protected
from audit.row_sql import row_text
from backups.live_restore.comparing import Line

FETCH_ROWS = 2000


def plain(model: type[models.Model]) -> models.QuerySet[Any]:
    """All rows of a model, whatever its managers hide or refuse."""
    return models.QuerySet(model, using=router.db_for_write(model))


def live_rows(protected: Protected, stream: uuid.UUID) -> models.QuerySet[Any]:
    """The live rows of one customer, as plain instances."""
    return plain(protected.model).filter(**{protected.customer: stream})


def live_lines(protected: Protected, stream: uuid.UUID, keys: frozenset[Any] | None = None) -> Iterator[Line]:
    """Those rows as a set has them, in bounded memory; of these primary keys alone when `keys` are given."""
    if keys is None:
        yield from _lines(live_rows(protected, stream), stream)
        return
    ordered = sorted(keys)
    for start in range(0, len(ordered), FETCH_ROWS):
        yield from _lines(live_rows(protected, stream).filter(pk__in=ordered[start : start + FETCH_ROWS]), stream)


def key_of(protected: Protected, key: Any) -> Any:
    """A primary key as canonical JSON has it."""
    return key if isinstance(key, int) else rows.to_json(_key_column(protected.model), key)


@cache
def _key_column(model: type[models.Model]) -> rows.Column:
    pk: Any = model._meta.pk
    return next(column for column in rows.columns(model) if column.attname == pk.attname)


def _lines(queryset: models.QuerySet[Any], stream: uuid.UUID) -> Iterator[Line]:
    model: type[models.Model] = queryset.model
    key, text = partial(key_of, registry.of(model)), row_text(model, connections[queryset.db], stream)
    if text is None:
        names = [column.attname for column in rows.columns(model)]
        pk: Any = model._meta.pk
        for values in queryset.values(*names).iterator(chunk_size=FETCH_ROWS):
            yield key(values[pk.attname]), rows.row_json(model, values).encode()
        return
    found = queryset.annotate(canonical_text=text).values_list("pk", "canonical_text")
    for ident, line in found.iterator(chunk_size=FETCH_ROWS):
        yield key(ident), line.encode() if isinstance(line, str) else bytes(line)
