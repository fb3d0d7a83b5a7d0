"""Tracked writes of rows exactly as they are given, for bringing back a state that existed (design section 8).

What the ordinary verbs do for a new state would alter an old one: here no column fills itself in (`auto_now`), no stored file is read and
digested anew, keys are kept, and a deletion reaches no further than its row (foreign keys are checked at the commit, so that rows may come
back in any order). History and journal are written as for any other change, and a frozen stream refuses as always.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import connections, models, router, transaction

from audit import capture
from audit.history_sql import batches
from audit.tracked import TrackedQuerySet
from audit.values import check_values


def create(model: type[models.Model], instances: Sequence[Any]) -> None:
    """Inserts the rows, each with the key that it has. Raises what a tracked write raises, `IntegrityError` for a key that is taken."""
    alias = router.db_for_write(model)
    _check(instances)
    with transaction.atomic(using=alias):
        level = capture.enter(model, instances, using=alias)
        for batch in _insertable(model, instances, alias):
            _plain(model, alias)._insert(batch, fields=model._meta.concrete_fields, using=alias, raw=True)  # type: ignore[attr-defined]
            capture.record(model, batch, "+", using=alias, entered=level)
        if instances:
            keep_keys_ahead(model, alias)


def update(model: type[models.Model], instances: Sequence[Any]) -> None:
    """Writes every column of stored rows, in this order. Raises `DoesNotExist` when one is gone."""
    alias = router.db_for_write(model)
    _check(instances)
    with transaction.atomic(using=alias):
        level = capture.enter(model, instances, using=alias)
        for batch in batches(instances):
            TrackedQuerySet(model, using=alias)._write_rows(batch)
            capture.record(model, batch, "~", using=alias, entered=level)


def delete(model: type[models.Model], keys: Sequence[Any]) -> int:
    """Deletes the rows of these primary keys alone; returns how many there were. What points at them must go, or point elsewhere, before
    the commit."""
    alias = router.db_for_write(model)
    with transaction.atomic(using=alias):
        found = [
            row for batch in batches(sorted(keys)) for row in _plain(model, alias).filter(pk__in=batch).order_by("pk").select_for_update()
        ]
        capture.record(model, found, "-", using=alias)
        for batch in batches(found):
            _plain(model, alias).filter(pk__in=[row.pk for row in batch])._raw_delete(alias)
    return len(found)


def keep_keys_ahead(model: type[models.Model], alias: str) -> None:
    """The next key that PostgreSQL gives is above all that are there. (A sequence can lag behind in a database that was copied by hand;
    SQLite looks at the rows.)"""
    connection, pk = connections[alias], model._meta.pk
    if connection.vendor != "postgresql" or not isinstance(pk, models.AutoField | models.BigAutoField | models.SmallAutoField):
        return
    quote = connection.ops.quote_name
    table, column = quote(model._meta.db_table), quote(str(pk.column))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [table, pk.column])
        (sequence,) = cursor.fetchone()
        cursor.execute(f"SELECT (SELECT max({column}) FROM {table}), last_value, is_called FROM {sequence}")  # noqa: S608  (names from the model)
        highest, last, given = cursor.fetchone()
        if highest is not None and (highest > last or (highest == last and not given)):
            cursor.execute("SELECT setval(%s, %s)", [sequence, highest])


def _check(instances: Iterable[Any]) -> None:
    for instance in instances:
        check_values(instance)


def _plain(model: type[models.Model], alias: str) -> models.QuerySet[Any]:
    """Without the refusals of the tracked one, whose part this module takes over."""
    return models.QuerySet(model, using=alias)


def _insertable(model: type[models.Model], instances: Sequence[Any], alias: str) -> Iterator[Sequence[Any]]:
    """In runs whose values one statement takes."""
    for batch in batches(instances):
        size = max(connections[alias].ops.bulk_batch_size(model._meta.concrete_fields, batch), 1)
        yield from (batch[start : start + size] for start in range(0, len(batch), size))
