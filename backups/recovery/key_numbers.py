"""The keys that the database gives next: behind the highest that was ever used, for a key is never used again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from django.contrib.auth import get_user_model
from django.db import connection, models

from audit import registry
from audit.models import JournalRow, Person, RowShape
from audit.registry import SYSTEM_STREAM

# Room for the keys of customers that are not back, of which nobody knows how far they went: all customers share the tables' numbers.
ROOM = 10_000_000


def go_on_behind(stream: uuid.UUID) -> None:
    """What the stream used: by a row, in history (the row may be deleted), in the journal (its history may be purged). SQLite keeps numbers
    with what is inserted; what history alone has is put there too."""
    for protected in registry.of_stream(stream):
        history = protected.history_model
        told = JournalRow.objects.filter(model=protected.label).aggregate(highest=models.Max("history_id"))["highest"]
        _set_behind(history, told or 0)
        if isinstance(protected.model._meta.pk, models.AutoField):
            key = protected.model._meta.pk.attname
            _set_behind(protected.model, models.QuerySet(history).aggregate(highest=models.Max(key))["highest"] or 0)
    for model in (JournalRow, RowShape):
        _set_behind(model, 0)
    if stream == SYSTEM_STREAM:
        _set_behind(get_user_model(), Person.objects.aggregate(highest=models.Max("id"))["highest"] or 0)


def leave_room() -> None:
    """Before anybody writes while a customer is not back: its rows are still to come, under the keys that they had."""
    for model in _shared():
        highest = _highest(model)
        _set_behind(model, min(2 * highest + ROOM, max(highest, _largest(model) // 2)))


def _shared() -> Iterator[type[models.Model]]:
    yield JournalRow
    for protected in registry.protected():
        if protected.customer:
            yield protected.history_model
            if isinstance(protected.model._meta.pk, models.AutoField):
                yield protected.model


def _highest(model: type[models.Model]) -> int:
    return models.QuerySet(model).aggregate(highest=models.Max("pk"))["highest"] or 0


def _largest(model: type[models.Model]) -> int:
    return 2**63 - 1 if isinstance(model._meta.pk, models.BigAutoField) else 2**31 - 1


def _set_behind(model: type[models.Model], at_least: int) -> None:
    table, column = model._meta.db_table, model._meta.pk.column
    highest = max(at_least, _highest(model))
    if not highest:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_get_serial_sequence(%s, %s)", [f'"{table}"', column])
            [sequence] = cursor.fetchone()
            cursor.execute(f"SELECT setval(%s, greatest(%s, (SELECT last_value FROM {sequence})))", [sequence, highest])  # noqa: S608
        else:
            cursor.execute("UPDATE sqlite_sequence SET seq = max(seq, %s) WHERE name = %s", [highest, table])
            if not cursor.rowcount:
                cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, highest])
