"""Which state is brought back, opened for reading."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from backups.choosing import At, Only, opened
from backups.reading import Reader
from backups.vault import Vault


@dataclass(frozen=True, slots=True)
class Which:
    """A set by its id or the id's beginning (the newest one for None), or with `at` the state of any second."""

    set_id: str | None = None
    at: At | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One customer's content at one moment, open. `set_id` is the set whose own state it is; None for any second."""

    stream: uuid.UUID
    reader: Reader
    state_at: datetime
    set_id: uuid.UUID | None

    @property
    def ident(self) -> str:
        """What tells this state from another: the set, or the newest change in it with its digest."""
        moment = self.reader.moment
        return f"set:{self.set_id}" if moment is None else f"change:{moment.timeline}:{moment.number}:{moment.digest}"


@contextmanager
def source(vault: Vault, stream: uuid.UUID, which: Which, *, only: Only | None = None) -> Iterator[Source]:
    """The state, for the length of the block; `only` hastens it. Raises what `choosing.opened` raises."""
    model = Only(only.model) if only else None
    with opened(vault, stream, set_id=which.set_id, at=which.at, only=model) as (found, reader):
        if reader.moment is None:
            yield Source(stream, reader, found.snapshot_at, uuid.UUID(found.id))
        else:
            yield Source(stream, reader, reader.moment.at, None)
