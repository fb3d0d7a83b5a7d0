"""Nothing of what was purged is left: looked for where it stood, after the commit (P9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.files.storage import Storage
from django.db import models

from audit import registry
from audit.models import JournalRow
from backups import idset
from backups.errors import StillThere
from backups.models import DoomedFile, Purge
from backups.purge.planning import batched

BATCH = 500


def check_gone(purge: Purge) -> None:
    """Raises `StillThere` when a change of the purge has its content or its salt, or a file of it is still to go. The live row of an object
    without history would be named by the nightly proof."""
    stream, numbers = purge.customer_id, sorted(idset.unpacked(bytes(purge.numbers)))
    if DoomedFile.objects.filter(purge=purge).exists():
        raise StillThere(f"Files of purge {purge} are still to be removed.")
    for some in batched(numbers, BATCH):
        rows = list(JournalRow.objects.filter(stream=stream, number__in=some).values_list("model", "history_id", "salt"))
        if len(rows) != len(some) or any(salt is not None for _, _, salt in rows):
            raise StillThere(f"The journal of purge {purge} is not as it was left: somebody wrote to it meanwhile.")
        for label in {model for model, _, _ in rows}:
            if _versions(label, [history_id for model, history_id, _ in rows if model == label]):
                raise StillThere(f"History rows of {label} that purge {purge} removed are there again.")


def storage_of(doomed: DoomedFile) -> Storage:
    """Where it is stored."""
    protected = registry.by_label(doomed.model)
    assert protected is not None
    return next(field.storage for field in protected.files if field.attname == doomed.field)


def _versions(label: str, history_ids: Sequence[int]) -> bool:
    protected = registry.by_label(label)
    if protected is None:
        return False
    history: models.QuerySet[Any, Any] = models.QuerySet(protected.history_model)
    return history.filter(pk__in=history_ids).exists()
