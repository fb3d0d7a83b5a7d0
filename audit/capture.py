"""From a change to a journal row, in one transaction: live row, history row, journal row (P8, design section 4).

Every tracked write first takes its stream's row (`enter`), shared between writers and exclusive to freezing: so no late commit slips
behind a freeze. All changes of one database transaction carry one transaction id (`audit.levels`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import connections, models, router

from audit import actors, canonical, clock, history_sql, levels, registry
from audit.errors import Frozen, UnknownStream, Unstorable
from audit.levels import Level
from audit.models.journal import JournalRow, Stream


def enter(model: type[models.Model], instances: Iterable[models.Model], *, using: str | None = None) -> Level:
    """Takes the streams of the instances for writing. Stands before the first write.

    Raises `NoActor`, `Frozen`, `UnknownStream`, and `BypassRefused` outside of a transaction.
    """
    alias = using or router.db_for_write(JournalRow)
    return enter_streams(history_sql.streams(registry.of(model), instances, alias), using=alias)


def enter_streams(streams: set[uuid.UUID], *, using: str | None = None) -> Level:
    """As `enter`, for streams that the caller knows."""
    actors.current()
    alias = using or router.db_for_write(JournalRow)
    level = levels.current(alias)
    for stream in sorted(streams - levels.held_streams(alias)):  # one order for everybody, or two writers wait for each other
        _take(stream, alias)
        level.streams.add(stream)
    return level


def enter_frozen_too(streams: set[uuid.UUID], *, using: str) -> Level:
    """As `enter_streams`, for history of what was written already, whoever is frozen: a migration asked nobody."""
    actors.current()
    level = levels.current(using)
    for stream in sorted(streams - levels.held_streams(using)):
        _held(stream, using, _SHARED[connections[using].vendor])
        level.streams.add(stream)
    return level


def refuse_frozen(stream: uuid.UUID, *, using: str | None = None) -> None:
    """Raises as `enter` does, without taking anything: for work that comes before the transaction."""
    actors.current()
    _refuse_closed(stream, using or router.db_for_write(JournalRow), "")


def _take(stream: uuid.UUID, alias: str) -> None:
    """Shares the stream's row until the end of the transaction. On SQLite the transaction is the only writer already."""
    _refuse_closed(stream, alias, _SHARED[connections[alias].vendor])


_SHARED = {"postgresql": " FOR KEY SHARE", "sqlite": ""}


def _refuse_closed(stream: uuid.UUID, alias: str, lock: str) -> None:
    name, frozen_at, reason = _held(stream, alias, lock)
    if frozen_at is not None:
        at = datetime.fromisoformat(frozen_at) if isinstance(frozen_at, str) else frozen_at
        raise Frozen(f"The data of {name} is frozen since {at:%Y-%m-%d %H:%M} UTC: {reason}. Nothing can be written until it is thawed.")


def _held(stream: uuid.UUID, alias: str, lock: str) -> tuple[str, Any, str]:
    connection, key = connections[alias], Stream._meta.pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT name, frozen_at, frozen_reason FROM {Stream._meta.db_table} WHERE id = %s{lock}",  # noqa: S608  (names from the model)
            [key.get_db_prep_value(stream, connection)],
        )
        row = cursor.fetchone()
    if row is None:
        raise UnknownStream(f"There is no stream {stream}: add the customer first (add_customer).")
    name, frozen_at, reason = row
    return name, frozen_at, reason


def record(
    model: type[models.Model], instances: Sequence[Any], history_type: str, *, using: str | None = None, entered: Level | None = None
) -> int:
    """Writes the history and journal rows of stored rows of one model, in the same transaction; returns how many rows were found.

    `history_type` is `+` or `~` right after the write, `-` right before the deletion (the rows are taken for it). The values are those
    that the database holds. `entered` is what `enter` gave for these instances, when the caller has called it.
    """
    alias = using or router.db_for_write(JournalRow)
    level = entered or enter(model, instances, using=alias)
    written = 0
    for reason, keys in _by_reason(instances).items():
        said = facts(history_type, reason, level)
        for batch in history_sql.batches(keys):
            written += history_sql.copy_rows(registry.of(model), batch, said, alias, lock=history_type == "-")
    if written != len(instances) and history_type != "-":
        raise UnknownStream(
            f"{len(instances) - written} {model.__name__} rows belong to no customer: the rows that they point at are not stored."
        )
    return written


def _by_reason(instances: Sequence[Any]) -> dict[str | None, list[Any]]:
    """Primary keys by the reason given on the instance itself (simple-history's `_change_reason`), mostly none."""
    keys: dict[str | None, list[Any]] = {}
    for instance in instances:
        keys.setdefault(getattr(instance, "_change_reason", None), []).append(instance.pk)
    return keys


def facts(history_type: str, reason: str | None, level: Level) -> dict[str, Any]:
    """What a history row written now says beside its row's columns (`history_sql.FACTS`)."""
    acting = actors.current()
    return {
        "history_date": clock.now(),
        "history_type": history_type,
        "history_user_id": acting.user_id,
        "history_change_reason": _storable("reason", reason or acting.reason) or None,
        "history_transaction": level.transaction_id,
        "history_actor": _storable("actor", acting.name)[:200],
        "history_source": _storable("source", acting.source)[:100],
    }


def _storable(name: str, text: str) -> str:
    try:
        return canonical.check_text(text)
    except canonical.NotCanonical as problem:
        raise Unstorable(name, str(problem)) from None
