"""Which changes lost their content by a purge, as the history of the purges has it: that is in the chain, and nobody adds to it unseen."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.db import models

from audit import registry
from backups import idset
from backups.models import Purge
from backups.snapshot import Snapshot


def recorded_numbers(moment: Snapshot) -> Callable[[uuid.UUID], frozenset[int]]:
    """Of each stream that it is asked for, as the snapshot has it; the last one is kept."""

    @lru_cache(maxsize=1)
    def numbers(stream: uuid.UUID) -> frozenset[int]:
        if stream == registry.SYSTEM_STREAM:
            return frozenset()
        written: models.QuerySet[Any, Any] = models.QuerySet(registry.of(Purge).history_model).order_by()
        rows = moment.converted(written.filter(customer=stream, history_type="+").values_list("numbers"))
        return frozenset(number for (packed,) in rows for number in idset.unpacked(bytes(packed)))

    return numbers
