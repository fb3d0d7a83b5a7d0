"""What of a transaction still stands: Django tells nobody when a savepoint or a transaction is rolled back.

A `Level` is one level of nesting (the transaction, or a savepoint in it) that has written something tracked. It rides at the head of the
connection's on-commit list, from which Django drops it with its savepoint or its transaction: so who holds a level can ask
whether what was written in it still stands. All levels of one transaction share its id.
"""

from __future__ import annotations

import uuid
from itertools import takewhile
from typing import Any

from django.db import connections

from audit.errors import BypassRefused


class Level:
    """`savepoints` are those that can still be rolled back; `streams` those whose rows were taken in this level."""

    def __init__(self, alias: str, transaction_id: uuid.UUID, savepoints: set[str]) -> None:
        self.alias = alias
        self.transaction_id = transaction_id
        self.savepoints = savepoints
        self.streams: set[uuid.UUID] = set()
        self.committed = False
        self.joined: Level | None = None

    def __call__(self) -> None:
        """Django calls it after the commit, and first of all, for it stands at the head of the list."""
        self.committed = True

    def stands(self) -> bool:
        """What was written in this level is committed, or is part of the transaction under way; False when it was rolled back."""
        return self.joined.stands() if self.joined else self.committed or self in _levels(connections[self.alias])

    def __reduce__(self) -> Any:
        return _copied, ()  # a copied or pickled row is believed, as Django believes it


def _copied() -> Level:
    level = Level("", uuid.UUID(int=0), set())
    level.committed = True
    return level


def current(alias: str) -> Level:
    """The level for what is written now. Raises `BypassRefused` outside of a transaction."""
    connection: Any = connections[alias]
    if not connection.in_atomic_block:
        raise BypassRefused("A tracked write needs a transaction: use save(), delete() or the tracked verbs, which open one.")
    active = {sid for sid in connection.savepoint_ids if sid}
    levels = _levels(connection)
    if any(level.savepoints != active for level in levels):
        levels = _settled(connection, active)
    for level in levels:
        if level.savepoints == active:
            return level
    level = Level(alias, levels[0].transaction_id if levels else uuid.uuid4(), active)
    connection.run_on_commit.insert(0, (level.savepoints, level, False))
    return level


def held_streams(alias: str) -> set[uuid.UUID]:
    """The streams whose rows this transaction holds. (A rollback to a savepoint gives back what was taken after it.)"""
    return set().union(*(level.streams for level in _levels(connections[alias])))


def forget_stream(stream: uuid.UUID, alias: str) -> None:
    """The next write of this transaction takes the stream anew."""
    for level in _levels(connections[alias]):
        level.streams.discard(stream)


def _levels(connection: Any) -> list[Level]:
    return list(takewhile(lambda callback: isinstance(callback, Level), (callback for _, callback, _ in connection.run_on_commit)))


def _settled(connection: Any, active: set[str]) -> list[Level]:
    """The levels, after those of released savepoints (nothing can roll them back alone) have joined the level around them."""
    first_of: dict[frozenset[str], Level] = {}
    for level in _levels(connection):
        level.savepoints &= active  # in place: Django reads the same set
        first = first_of.setdefault(frozenset(level.savepoints), level)
        if first is not level:
            first.streams |= level.streams
            level.joined = first
    connection.run_on_commit = [entry for entry in connection.run_on_commit if getattr(entry[1], "joined", None) is None]
    return list(first_of.values())
