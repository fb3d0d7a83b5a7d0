"""Which state is brought back, opened for reading."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from backups.choosing import open_chosen
from backups.reading import SetReader
from backups.vault import Vault


@dataclass(frozen=True, slots=True)
class Source:
    """One customer's content at one moment. `reader` is the set's, or anything that reads like one; `set_id` the set's."""

    stream: uuid.UUID
    reader: SetReader
    state_at: datetime
    set_id: uuid.UUID | None

    @property
    def ident(self) -> str:
        """What tells this state from another."""
        return f"set:{self.set_id}"


def open_source(vault: Vault, stream: uuid.UUID, *, set_id: str | None) -> Source:
    """The newest set, or the one whose id begins so. Raises what `choosing.open_chosen` raises."""
    found, reader = open_chosen(vault, stream, set_id)
    return Source(stream, reader, found.snapshot_at, uuid.UUID(found.id))
