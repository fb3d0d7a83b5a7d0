"""From the columns that an old digest covers to today's, along the recorded versions of the schema (pure).

A leaf covers the columns that its history row had when it was numbered. Renamed columns are found under their new names; what a version
lost is vouched for by the heads that were signed with it, after the chain had been recomputed with the old columns.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from audit.chain import Head
from audit.schema.describing import shape_digest


@dataclass(frozen=True)
class Lineage:
    """`documents` are the signed documents of the recorded versions, oldest first."""

    documents: Sequence[Mapping[str, Any]] = ()
    _names: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict, compare=False)

    def names(self, model: str, sha256: str) -> dict[str, str]:
        """What the columns of a model's shape with that digest are called today, those alone that were renamed since."""
        if (model, sha256) not in self._names:
            self._names[model, sha256] = self._renamed(model, self._newest_with(model, sha256))
        return self._names[model, sha256]

    def vouching(self, model: str, stream: uuid.UUID, number: int) -> int | None:
        """The number of the version whose signed head vouches for a change that cannot be made anew since; None when there is none."""
        for one in self.documents:
            head = one["heads"].get(str(stream))
            if model in one["lost"] and head and number <= head[0] and number not in one["unproved"].get(str(stream), ()):
                return int(one["number"])
        return None

    def heads(self, stream: uuid.UUID) -> dict[int, str]:
        """The digests that were signed for numbers of that stream's chain."""
        found = (one["heads"].get(str(stream)) for one in self.documents)
        return {head.number: head.digest for head in (Head(*one) for one in found if one)}

    def _newest_with(self, model: str, sha256: str) -> int:
        """The place of the newest version in which the model's history had that shape; behind all of them where none had."""
        for at in range(len(self.documents) - 1, -1, -1):
            known = self.documents[at]["models"].get(model)
            if known is not None and shape_digest(known["history"]) == sha256:
                return at
        return len(self.documents)

    def _renamed(self, model: str, since: int) -> dict[str, str]:
        names: dict[str, str] = {}
        for one in self.documents[since + 1 :]:
            step = one["renamed"].get(model, {})
            followed = {first: step.get(name, name) for first, name in names.items()}
            names = {**{old: new for old, new in step.items() if old not in names.values()}, **followed}
        return {old: new for old, new in names.items() if old != new}
