"""The rows about the customer's objects go once the objects have: blobs, copies, chunks, files. Its sets stay as ids, dates and counts."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

from django.db import models
from django.db.models import Q

from backups.leases import Held, fenced
from backups.models import BackupSet, Blob, Chunk, Copy, Damage, HotFile, StoredFile, UnknownObject
from backups.purge.planning import batched
from subscriptions import holds

BATCH = 500
State = BackupSet.State


def remove(stream: uuid.UUID, lease: Held, now: Any) -> Counter[str]:
    """All but the rows of keys, which are still there. Raises `OnHold`, `LeaseLost`."""
    gone: Counter[str] = Counter()
    for rows in _rows(stream):
        gone[str(rows.model._meta.verbose_name_plural)] += _delete(rows, stream, lease)
    gone["objects"] += _delete(Blob.objects.filter(stream=stream).exclude(kind=Blob.Kind.KEY), stream, lease)
    with fenced(lease):
        holds.refuse_held(stream)
        Damage.objects.open().filter(stream=stream).update(over_at=now)
        Damage.objects.filter(stream=stream).update(aside="", aside_until=None)
        BackupSet.objects.filter(stream=stream).exclude(blob_ids=b"").update(blob_ids=b"")
        BackupSet.objects.filter(stream=stream, state=State.MAKING).update(state=State.ABANDONED, ended_at=now)
        there = BackupSet.objects.filter(stream=stream, state__in=(State.MADE, State.LEAVING))
        there.filter(left_at=None).update(left_at=now)
        there.update(state=State.REMOVED, removed_at=now, kept_why="", goes_at=None)
    return gone


def remove_keys(stream: uuid.UUID, lease: Held) -> int:
    """The rows of its keys, once no location has one."""
    return _delete(Blob.objects.filter(stream=stream), stream, lease)


def left(stream: uuid.UUID) -> list[str]:
    """What a fresh look still finds besides keys, a sentence each."""
    rows = (*_rows(stream), Blob.objects.filter(stream=stream).exclude(kind=Blob.Kind.KEY))
    return [f"{count:,} {one.model._meta.verbose_name_plural} are there" for one in rows if (count := one.count())]


def keys_left(stream: uuid.UUID) -> list[str]:
    return [f"{name} is in the catalogue" for name in Blob.objects.filter(stream=stream).values_list("name", flat=True)[:3]]


def _rows(stream: uuid.UUID) -> tuple[models.QuerySet[Any, Any], ...]:
    named = Q(name__startswith=f"customers/{stream}/") | Q(name__startswith=f"keys/{stream}/")
    return (
        StoredFile.objects.filter(stream=stream),
        Chunk.objects.filter(stream=stream),
        HotFile.objects.filter(stream=stream),
        Copy.objects.filter(blob__stream=stream).exclude(blob__kind=Blob.Kind.KEY),
        UnknownObject.objects.filter(named),
    )


def _delete(rows: models.QuerySet[Any, Any], stream: uuid.UUID, lease: Held) -> int:
    gone = 0
    for ids in batched(list(rows.order_by().values_list("pk", flat=True)), BATCH):
        lease.keep()
        with fenced(lease):
            holds.refuse_held(stream)
            gone += rows.model._base_manager.filter(pk__in=ids).delete()[0]
    return gone
