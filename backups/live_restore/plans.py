"""The plan of a live restore, as it is shown, approved and carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.core.files.storage import Storage

from audit.registry import Protected
from backups.live_restore.comparing import Compared, Line, digest_of_changes
from backups.live_restore.sources import Source


@dataclass(frozen=True, slots=True)
class Chosen:
    """What of the state is wanted: every model when `model` is empty, else that one; of it the rows of `keys`, or all for None."""

    model: str = ""
    keys: frozenset[Any] | None = None

    def wants(self, model: str) -> bool:
        return self.model in ("", model)


@dataclass(frozen=True)
class ModelPlan:
    """What would change in one model. `wanted` gives the rows of the state, each time anew."""

    protected: Protected
    compared: Compared
    wanted: Callable[[], Iterator[Line]]

    @cached_property
    def gone(self) -> frozenset[Any]:
        """The keys of the rows that would be removed."""
        return frozenset(change.key for change in self.compared.removed)

    @cached_property
    def moving(self) -> frozenset[Any]:
        """The keys of all rows that would be added, changed or removed."""
        return frozenset(change.key for change in self.compared.all)


@dataclass(frozen=True, slots=True)
class LostFile:
    """A stored file that is to be put back; `parts` say where its bytes lie in the backup."""

    model: str
    storage: Storage
    name: str
    sha256: str
    size: int
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Plan:
    """What would change in all. `document` is what an approval covers; files that are put back are not in it, for nothing is overwritten by
    them, and `obstacles` neither: while there is one, nothing is asked, approved or written."""

    source: Source
    chosen: Chosen
    models: tuple[ModelPlan, ...]
    files: tuple[LostFile, ...]
    obstacles: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def counts(self) -> dict[str, list[int]]:
        """For each model in which something would change: added, changed, removed."""
        return {one.protected.label: one.compared.counts for one in self.models if one.compared.all}

    @property
    def totals(self) -> tuple[int, int, int]:
        added, changed, removed = (sum(count[at] for count in self.counts.values()) for at in range(3))
        return added, changed, removed

    @property
    def is_empty(self) -> bool:
        return not self.counts and not self.files

    @cached_property
    def document(self) -> dict[str, Any]:
        return {
            "customer": str(self.source.stream),
            "state": self.source.ident,
            "only": [self.chosen.model, sorted(self.chosen.keys) if self.chosen.keys is not None else None],
            "models": {one.protected.label: [one.compared.counts, digest_of_changes(one.compared.all)] for one in self.models},
        }
