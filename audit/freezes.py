"""Freezing a stream: from the moment `freeze` returns, no change of that customer can commit, not even one begun before."""

from __future__ import annotations

import uuid

from django.db import transaction

from audit import clock, levels
from audit.models import Stream


def freeze(stream: uuid.UUID, *, reason: str) -> Stream:
    """Waits for the writers under way, then refuses all others. Freezing again keeps the first date and takes the new reason."""
    with transaction.atomic():
        row = Stream.objects.select_for_update().get(pk=stream)
        row.frozen_at = row.frozen_at or clock.now()
        row.frozen_reason = reason[:200]
        row.save(update_fields=["frozen_at", "frozen_reason"])
        levels.forget_stream(stream, row._state.db or "default")  # this very transaction may have written before, and must not go on
    return row


def thaw(stream: uuid.UUID) -> Stream:
    """Lets changes in again."""
    with transaction.atomic():
        row = Stream.objects.select_for_update().get(pk=stream)
        row.frozen_at, row.frozen_reason = None, ""
        row.save(update_fields=["frozen_at", "frozen_reason"])
    return row
