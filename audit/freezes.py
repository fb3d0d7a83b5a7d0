"""Freezing a stream: from the moment `freeze` returns, no change of that customer can commit, not even one begun before.

Whoever freezes for the length of some work (`freeze_free`) holds the row that it returns: its date and reason tell that freeze from every
other, and only with it can it be ended (`thaw_same`) or written through (`writing_through`).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from audit import clock, levels
from audit.errors import Frozen
from audit.models import Stream
from audit.moments import in_utc


def freeze(stream: uuid.UUID, *, reason: str) -> Stream:
    """Waits for the writers under way, then refuses all others. Freezing again keeps the first date and takes the new reason."""
    with transaction.atomic():
        return _freeze(_taken(stream), reason)


def freeze_free(stream: uuid.UUID, *, reason: str) -> Stream:
    """As `freeze`, of a stream that nobody has frozen; `Frozen` else: a freeze that is not ours must not end with our work."""
    with transaction.atomic():
        row = _taken(stream)
        if row.frozen_at is not None:
            raise Frozen(
                f"The data of {row.name} is frozen already, since {in_utc(row.frozen_at)}: {row.frozen_reason}. Try again when it is not."
            )
        return _freeze(row, reason)


def thaw(stream: uuid.UUID) -> Stream:
    """Lets changes in again."""
    with transaction.atomic():
        return _thaw(_taken(stream))


def thaw_same(frozen: Stream) -> bool:
    """Ends exactly that freeze; returns whether it stood. One that took its place, with another date or reason, is left."""
    with transaction.atomic():
        row = _taken(frozen.pk)
        if not _is_same(row, frozen):
            return False
        _thaw(row)
    return True


@contextmanager
def writing_through(frozen: Stream) -> Iterator[Stream]:
    """One transaction that may write what that freeze keeps from everybody else, until its end; it is the outermost, and keeps the stream's
    row to itself. Raises `Frozen` unless exactly that freeze stands: what was compared under it may have changed since."""
    with transaction.atomic(durable=True):
        row = _taken(frozen.pk)
        if not _is_same(row, frozen):
            raise Frozen(f"The data of {row.name} was thawed, or frozen for something else, meanwhile. Nothing was written.")
        alias = row._state.db or "default"
        levels.current(alias).streams.add(row.pk)
        try:
            yield row
        finally:
            levels.forget_stream(row.pk, alias)


def _taken(stream: uuid.UUID) -> Stream:
    return Stream.objects.select_for_update().get(pk=stream)


def _freeze(row: Stream, reason: str) -> Stream:
    row.frozen_at = row.frozen_at or clock.now()
    row.frozen_reason = reason[:200]
    row.save(update_fields=["frozen_at", "frozen_reason"])
    levels.forget_stream(row.pk, row._state.db or "default")  # this very transaction may have written before, and must not go on
    return row


def _thaw(row: Stream) -> Stream:
    row.frozen_at, row.frozen_reason = None, ""
    row.save(update_fields=["frozen_at", "frozen_reason"])
    return row


def _is_same(row: Stream, frozen: Stream) -> bool:
    return row.frozen_at is not None and (row.frozen_at, row.frozen_reason) == (frozen.frozen_at, frozen.frozen_reason)
