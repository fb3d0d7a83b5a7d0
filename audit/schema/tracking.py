"""Rows that migrations changed behind history's back become tracked changes: history says again what is live, and every second before is
still what was then.

Many rows cost one statement a batch, inside the database. Each batch is a transaction; what is done does not differ any more, so that
going on after a kill does nothing twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.db import connections, router, transaction

import audit
from audit import capture, history_sql, registry
from audit.images import Fault
from audit.models import JournalRow
from audit.registry import Protected
from audit.schema.differences import Different, different

ACTOR, SOURCE = "deploy", "init"
TYPES = {Fault.ALTERED: "~", Fault.UNKNOWN: "+", Fault.BACK: "+", Fault.GONE: "-"}
_ORDER = "~+-"

Tell = Callable[[str], None]


def track(before: Mapping[str, Collection[str]], why: Callable[[str], str], tell: Tell) -> tuple[dict[str, list[int]], dict[str, int]]:
    """By model: how many rows were changed, added and removed by the migrations, now in history; and how many differ still, for they
    differed `before` (keys as text, by model), or were moved to another customer, which no history can tell. `why` gives the reason."""
    tracked: dict[str, list[int]] = {}
    left: dict[str, int] = {}
    for protected in registry.protected():
        found, stays = _found(protected, before.get(protected.label, ()))
        for history_type, rows in found.items():
            with audit.acting(ACTOR, reason=why(protected.label), source=SOURCE):
                _track(protected, history_type, rows, tell)
        if found:
            tracked[protected.label] = [len(found.get(one, ())) for one in _ORDER]
        if stays:
            left[protected.label] = stays
    return tracked, left


def _found(protected: Protected, before: Collection[str]) -> tuple[dict[str, list[Different]], int]:
    """Those to be tracked, by their type in history, and the number of the others."""
    found: dict[str, list[Different]] = {}
    known, stays = frozenset(before), 0
    alias = router.db_for_write(JournalRow)
    with transaction.atomic(using=alias):
        for one in different(protected, connections[alias]):
            if str(one.key) in known or one.moved:
                stays += 1
            else:
                found.setdefault(TYPES[one.fault], []).append(one)
    return found, stays


def _track(protected: Protected, history_type: str, rows: Sequence[Different], tell: Tell) -> None:
    alias, done = router.db_for_write(JournalRow), 0
    for batch in history_sql.batches(rows):
        with transaction.atomic(using=alias):
            level = capture.enter_frozen_too(_streams(batch), using=alias)
            facts = capture.facts(history_type, None, level)
            if history_type == "-":
                history_sql.copy_images(protected, [one.image for one in batch if one.image is not None], facts, alias)
            else:
                history_sql.copy_rows(protected, [_key(protected, one.key) for one in batch], facts, alias)
        done += len(batch)
        tell(f"{protected.label}: {done:,} of {len(rows):,} rows that the migrations changed are in history")


def _streams(batch: Iterable[Different]) -> set[uuid.UUID]:
    return {one.stream for one in batch}


def _key(protected: Protected, key: Any) -> Any:
    pk: Any = protected.model._meta.pk
    return pk.to_python(key)
