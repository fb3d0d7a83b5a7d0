"""Texts that may quote the customer's content, in tables that are no content themselves: they go, and what they say with counts and dates
stays (design section 9).

The queue's rows are disposable by design (section 10), and a traceback may quote anything: waiting messages and kept failures go whole,
whoever's they are, and what they asked for is queued again from our own rows.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from django_q.models import OrmQ, Task

from audit import registry
from audit.registry import Protected
from backups import queueing
from backups.leases import Held, fenced
from backups.models import (
    BackupSet,
    ItemExport,
    LiveRestore,
    ReadLease,
    RecoveredStream,
    RetentionLook,
    Run,
    TermLook,
    TestCell,
    TestOrder,
)
from backups.purge.planning import batched
from subscriptions import holds
from subscriptions.models import Export

BATCH = 400


def remove(stream: uuid.UUID, lease: Held, now: datetime) -> Counter[str]:
    """Blanks or removes them; how many by kind. Raises `OnHold`, `LeaseLost`."""
    gone: Counter[str] = Counter()
    for protected in registry.of_stream(stream):
        for entries in batched(_entries(protected, stream), BATCH):
            lease.keep()
            with fenced(lease):
                holds.refuse_held(stream)
                gone["admin log"] += LogEntry.objects.filter(pk__in=entries).update(object_repr="", change_message="", object_id=None)
    with fenced(lease):
        holds.refuse_held(stream)
        gone["queue"] += OrmQ.objects.count() + Task.objects.filter(stopped__lte=now).delete()[0]
        for cluster in (queueing.WORKER, queueing.DESTROYER):
            queueing.forget(cluster)
        gone["sessions"] += Session.objects.filter(expire_date__lt=now).delete()[0]
        gone["bookkeeping"] += _bookkeeping(stream, now)
    return gone


def left(stream: uuid.UUID) -> list[str]:
    """What a fresh look still finds, a sentence each."""
    entries = sum(1 for protected in registry.of_stream(stream) for _ in _entries(protected, stream))
    said = sum(rows.count() for rows, _ in _said(stream))
    found = [f"{entries:,} entries of the admin log tell of its objects"] if entries else []
    return [*found, *([f"{said:,} rows of bookkeeping still have their texts"] if said else [])]


def _entries(protected: Protected, stream: uuid.UUID) -> Iterator[int]:
    """The entries about the customer's objects: those that its history knows, and those that no other's does, for what is gone from history
    by a purge, or by the step before this one, is nobody else's."""
    kind = ContentType.objects.get_for_model(protected.model)
    told = LogEntry.objects.filter(content_type=kind).exclude(object_id=None).order_by("pk")
    for some in batched(told.values_list("pk", "object_id").iterator(chunk_size=2000), BATCH):
        ids = {ident for _, ident in some}
        others = _known(protected, ids, ~Q(history_stream=stream)) - _known(protected, ids, Q(history_stream=stream))
        yield from (pk for pk, ident in some if ident not in others)


def _known(protected: Protected, ids: set[str], whose: Q) -> set[str]:
    """Those of the ids, as the log writes them, that history rows of such streams have."""
    pk: Any = protected.model._meta.pk
    keys = [key for ident in ids if (key := _as_key(pk, ident)) is not None]
    rows: models.QuerySet[Any, Any] = models.QuerySet(protected.history_model)
    return {str(key) for key in rows.order_by().filter(whose, **{f"{pk.attname}__in": keys}).values_list(pk.attname, flat=True).distinct()}


def _as_key(pk: Any, ident: str) -> Any:
    try:
        return pk.to_python(ident)
    except (ValueError, TypeError, ValidationError):
        return None


def _said(stream: uuid.UUID) -> list[tuple[models.QuerySet[Any, Any], dict[str, Any]]]:
    """The rows that stay, as far as they still say something, and what they are made to say."""
    sets = BackupSet.objects.filter(stream=stream)
    runs = Run.objects.filter(stream=stream)
    restores = LiveRestore.objects.filter(request__customer=stream)
    recovered = RecoveredStream.objects.filter(pk=stream)
    exports = Export.objects.filter(customer=stream)
    return [
        (sets.exclude(proof_text="", trouble=""), {"proof_text": "", "trouble": ""}),
        (runs.exclude(trouble="", progress=""), {"trouble": "", "progress": ""}),
        (restores.exclude(trouble="", progress=""), {"trouble": "", "progress": ""}),
        (recovered.exclude(trouble=""), {"trouble": "", "notes": [], "lost": []}),
        (exports.exclude(what="", reason=""), {"what": "", "reason": ""}),
    ]


def _bookkeeping(stream: uuid.UUID, now: datetime) -> int:
    count = sum(rows.update(**values) for rows, values in _said(stream))
    waiting = (Run.State.OWED, Run.State.PAUSED, Run.State.COMPLETE, Run.State.FAILED, Run.State.STOPPED)
    Run.objects.filter(stream=stream, state__in=waiting, ended_at=None).update(state=Run.State.EXCUSED, ended_at=now, queued_at=None)
    ItemExport.objects.filter(stream=stream).exclude(notes="", trouble="", progress="", reason="").update(
        notes="", trouble="", progress="", reason="", model="", key="", history_id=None
    )
    tests: tuple[Any, ...] = (TestCell, TestOrder, ReadLease, RetentionLook, TermLook)
    return count + sum(model.objects.filter(stream=stream).delete()[0] for model in tests)
