"""From a change to a journal row, in one transaction: live row, history row, journal row (P8, design section 4).

Every tracked write first takes its stream's row (`enter`), shared between writers and exclusive to freezing: so no late commit slips
behind a freeze. All changes of one database transaction carry one transaction id; it lives exactly as long as the first
change of that transaction does, also under savepoints.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, models, router, transaction
from django.utils import timezone

from audit import actors, registry
from audit.errors import BypassRefused, Frozen, UnknownStream
from audit.models import JournalRow, Stream


class _Marker:
    """Rides on the connection's on-commit list: dropped with the transaction, or with the savepoint that made it."""

    def __init__(self) -> None:
        self.id = uuid.uuid4()
        self.streams: set[uuid.UUID] = set()

    def __call__(self) -> None:
        """Nothing happens at commit; the list forgets the marker."""


def enter(instances: Iterable[models.Model], *, using: str | None = None) -> uuid.UUID:
    """Takes the streams of the instances for writing and returns the transaction's id. Stands before the first write.

    Raises `NoActor`, `Frozen`, `UnknownStream`, and `BypassRefused` outside of a transaction.
    """
    actors.current()
    streams = {registry.of(type(instance)).stream_of(instance) for instance in instances}
    return enter_streams(streams, using=using)


def enter_streams(streams: set[uuid.UUID], *, using: str | None = None) -> uuid.UUID:
    """As `enter`, for streams that the caller knows."""
    alias = using or router.db_for_write(JournalRow)
    marker = _marker(alias)
    for stream in sorted(streams - marker.streams):  # one order for everybody, or two writers wait for each other
        _take(stream, alias)
        marker.streams.add(stream)
    return marker.id


def _marker(alias: str) -> _Marker:
    connection = connections[alias]
    if not connection.in_atomic_block:
        raise BypassRefused("A tracked write needs a transaction: use save(), delete() or the tracked verbs, which open one.")
    for _, callback, _ in connection.run_on_commit:
        if isinstance(callback, _Marker):
            return callback
    marker = _Marker()
    transaction.on_commit(marker, using=alias)
    return marker


def _take(stream: uuid.UUID, alias: str) -> None:
    """Shares the stream's row until the end of the transaction. On SQLite the transaction is the only writer already."""
    lock = " FOR KEY SHARE" if connections[alias].vendor == "postgresql" else ""
    table, field = Stream._meta.db_table, Stream._meta.pk
    with connections[alias].cursor() as cursor:
        cursor.execute(
            f"SELECT name, frozen_at, frozen_reason FROM {table} WHERE id = %s{lock}",  # noqa: S608  (names from the model)
            [field.get_db_prep_value(stream, connections[alias])],
        )
        row = cursor.fetchone()
    if row is None:
        raise UnknownStream(f"There is no stream {stream}: add the customer first (add_customer).")
    name, frozen_at, reason = row
    if frozen_at is not None:
        raise Frozen(f"The data of {name} is frozen since {frozen_at:%Y-%m-%d %H:%M} UTC: {reason}. Nothing can be written until it is thawed.")


def record(model: type[models.Model], instances: Sequence[Any], history_type: str, *, using: str | None = None) -> None:
    """Writes the history and journal rows for changes just made to rows of one model, in the same transaction.

    `history_type` is `+`, `~` or `-`. The instances hold the values as they were written (or as they were before deletion).
    """
    alias = using or router.db_for_write(JournalRow)
    transaction_id = enter(instances, using=alias)
    protected = registry.of(model)
    rows = [_history_row(protected, instance, history_type, transaction_id) for instance in instances]
    history = protected.history_model
    models.QuerySet(history, using=alias).bulk_create(rows)
    JournalRow.objects.using(alias).bulk_create(
        JournalRow(stream_id=row.history_stream, model=protected.label, history_id=row.history_id, transaction=transaction_id) for row in rows
    )


def _history_row(protected: registry.Protected, instance: Any, history_type: str, transaction_id: uuid.UUID) -> Any:
    acting = actors.current()
    return protected.history_model(
        history_date=timezone.now(),
        history_type=history_type,
        history_user_id=acting.user_id,
        history_change_reason=getattr(instance, "_change_reason", None) or acting.reason or None,
        history_stream=protected.stream_of(instance),
        history_transaction=transaction_id,
        history_actor=acting.name[:200],
        history_source=acting.source[:100],
        **{field.attname: getattr(instance, field.attname) for field in protected.model._meta.concrete_fields},
    )
