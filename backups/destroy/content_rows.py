"""Live rows, history and journal go, by raw SQL: no history is made of it and no journal (design section 9).

Children before their parents, some rows in each transaction. Models that point at themselves or at each other go whole in one, for
databases look at foreign keys when a transaction ends. The journal goes last, and with it the salts; where its chain ended stays.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, connections, router

from audit import registry
from audit.models import JournalRow
from audit.registry import Protected
from backups.destroy import inventory
from backups.errors import NotDestroyed
from backups.leases import Held, fenced
from backups.live_restore.live import live_rows
from backups.purge.planning import batched
from subscriptions import holds

BATCH = 500
TOGETHER = 5000


def remove(stream: uuid.UUID, lease: Held) -> Counter[str]:
    """Removes them; how many by label, `history of` label and `journal`. Raises `OnHold`, `LeaseLost`, `NotDestroyed`."""
    gone: Counter[str] = Counter()
    children_first = list(reversed(registry.of_stream(stream)))
    whole = [one for one in children_first if _points_back(one, children_first)]
    for protected in children_first:
        if protected not in whole:
            _remove_live(protected, stream, lease, gone)
    if whole:
        with _held_off(stream, lease):
            for protected in whole:
                gone[protected.label] += sum(_delete_live(protected, keys) for keys in _keys(protected, stream, None))
    for protected in children_first:
        _remove_history(protected, stream, lease, gone)
    _remove_journal(stream, lease, gone)
    return gone


def left(stream: uuid.UUID) -> list[str]:
    """What a fresh look still finds, a sentence each."""
    found = inventory.in_database(stream)
    return [
        *(f"{count:,} live rows of {label} are there" for label, count in found.live.items() if count),
        *(f"{count:,} history rows of {label} are there" for label, count in found.history.items() if count),
        *([f"{found.journal:,} changes are in the journal"] if found.journal else []),
    ]


class _held_off:  # noqa: N801  (a block, not a thing)
    """A fenced transaction that no hold was placed before, and none is until its end."""

    def __init__(self, stream: uuid.UUID, lease: Held) -> None:
        self.stream, self.block = stream, fenced(lease)

    def __enter__(self) -> None:
        self.block.__enter__()
        holds.refuse_held(self.stream)

    def __exit__(self, *problem: Any) -> Any:
        return self.block.__exit__(*problem)


def _points_back(protected: Protected, children_first: Sequence[Protected]) -> bool:
    """Whether it points at itself, or at a model that goes before it."""
    before = {one.model for one in children_first[: children_first.index(protected) + 1]}
    return any(field.is_relation and field.related_model in before for field in protected.model._meta.concrete_fields)


def _remove_live(protected: Protected, stream: uuid.UUID, lease: Held, gone: Counter[str]) -> None:
    while True:
        lease.keep()
        try:
            with _held_off(stream, lease):
                count = sum(_delete_live(protected, keys) for keys in _keys(protected, stream, TOGETHER))
        except IntegrityError as problem:
            raise NotDestroyed(
                f"Rows that are not protected point at rows of {protected.label}: the vendor's own software must remove them first."
            ) from problem
        gone[protected.label] += count
        if not count:
            return


def _keys(protected: Protected, stream: uuid.UUID, most: int | None) -> list[list[Any]]:
    return list(batched(live_rows(protected, stream).order_by("pk").values_list("pk", flat=True)[:most], BATCH))


def _delete_live(protected: Protected, keys: Sequence[Any]) -> int:
    pk: Any = protected.model._meta.pk
    alias = router.db_for_write(protected.model)
    stored = [pk.get_db_prep_value(key, connections[alias]) for key in keys]
    return _delete(alias, str(protected.model._meta.db_table), str(pk.column), stored)


def _remove_history(protected: Protected, stream: uuid.UUID, lease: Held, gone: Counter[str]) -> None:
    alias, table = router.db_for_write(protected.model), str(protected.history_model._meta.db_table)
    while True:
        lease.keep()
        with _held_off(stream, lease):
            ids = list(inventory.history_rows(protected, stream).using(alias).values_list("history_id", flat=True)[:TOGETHER])
            count = sum(_delete(alias, table, "history_id", some) for some in batched(ids, BATCH))
        gone[f"history of {protected.label}"] += count
        if not count:
            return


def _remove_journal(stream: uuid.UUID, lease: Held, gone: Counter[str]) -> None:
    while True:
        lease.keep()
        with _held_off(stream, lease):
            ids = list(JournalRow.objects.filter(stream=stream).order_by("id").values_list("id", flat=True)[:TOGETHER])
            count = sum(_delete("default", JournalRow._meta.db_table, "id", some) for some in batched(ids, BATCH))
        gone["journal"] += count
        if not count:
            return


def _delete(alias: str, table: str, column: str, values: Sequence[Any]) -> int:
    quote = connections[alias].ops.quote_name
    marks = ",".join(["%s"] * len(values))
    with connections[alias].cursor() as cursor:
        cursor.execute(f"DELETE FROM {quote(table)} WHERE {quote(column)} IN ({marks})", list(values))  # noqa: S608  (names from the models)
        return int(cursor.rowcount)
