"""What a pass would do, to look at; nothing is written."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from audit.models import Stream
from backups import policies, read_leases
from backups.models import BackupSet, RetentionLook
from backups.policy import Policy, in_force
from backups.prune import deciding, due, facts
from backups.prune.carrying_out import batches_of
from backups.prune.deciding import Decided
from backups.retention import Decision, Moved, Stored, Term, what_if


@dataclass(frozen=True, slots=True)
class Planned:
    """One stream: its name, what was decided, and the stored bytes that each set alone added."""

    name: str
    decided: Decided
    new_bytes: dict[str, int]

    @property
    def sets(self) -> list[tuple[Stored, Decision]]:
        """Newest first."""
        by_id = {one.id: one for one in self.decided.facts.sets}
        pairs = [(by_id[decision.set_id], decision) for decision in self.decided.decisions]
        return sorted(pairs, key=lambda pair: pair[0].at, reverse=True)

    @property
    def going(self) -> list[tuple[Stored, Decision]]:
        kept_here = {one.set_id for one in self.decided.going}
        return [pair for pair in self.sets if pair[1].set_id in kept_here]


def plans(at: datetime, only: Sequence[uuid.UUID] | None = None) -> Iterator[Planned]:
    """What a pass at that moment would do: for these streams, else for all at which something is due."""
    policy = in_force(policies.versions(), at)
    for batch in batches_of(due.due(policy, at).streams if only is None else list(only)):
        names = dict(Stream.objects.filter(pk__in=batch).values_list("pk", "name"))
        sizes = BackupSet.objects.filter(stream__in=batch, state=BackupSet.State.MADE).values_list("pk", "new_bytes")
        new_bytes = {str(pk): size for pk, size in sizes}
        for one in facts.read(batch, policy):
            read = {str(pk) for pk in read_leases.being_read([uuid.UUID(stored.id) for stored in one.sets], at)}
            yield Planned(names[one.stream], deciding.decide(one, policy, at, is_excused=deciding.is_excused, read=read), new_bytes)


def document(planned: Planned) -> dict[str, Any]:
    """As JSON: `sets`, newest first, each with why it is kept or goes; `periods` are those that close now."""
    decided = planned.decided
    return {
        "stream": planned.name,
        "waits": decided.waits,
        "policy": decided.policy.number,
        "years": decided.facts.term.years,
        "periods": [{"key": one.period.key, "set": one.set_id, "nights_off": one.nights_off} for one in decided.chosen],
        "sets": [
            {
                "set": stored.id,
                "night": stored.night.isoformat(),
                "state_at": stored.at.isoformat(),
                "kept": decision.kept,
                "goes_at": decision.goes_at.isoformat(),
                "why": decision.words,
                "new_bytes": planned.new_bytes.get(stored.id, 0),
            }
            for stored, decision in planned.sets
        ],
    }


# What if


@dataclass(slots=True)
class Shift:
    """What another policy would mean for all sets together: how many would go earlier or later, and how many of the former at once; of
    those that go earlier or at once with the stored bytes that they alone added."""

    sets: int = 0
    earlier: int = 0
    earlier_bytes: int = 0
    later: int = 0
    at_once: int = 0
    at_once_bytes: int = 0
    customers: int = 0


def shift(old: Policy, new: Policy, now: datetime) -> Shift:
    """Over all streams, some at a time."""
    found = Shift()
    streams = list(RetentionLook.objects.order_by("stream").values_list("stream", flat=True))
    for batch in batches_of(streams):
        sizes = dict(BackupSet.objects.filter(stream__in=batch, state=BackupSet.State.MADE).values_list("pk", "new_bytes"))
        before, after = facts.read(batch, old), facts.read(batch, new)
        for one, other in zip(before, after, strict=True):
            moved = what_if(one.sets, one.choices, (old, one.term), (new, other.term), now)
            found.sets += len(one.sets)
            _count(found, moved, sizes, now)
    return found


def shift_of_term(stream: uuid.UUID, old: Term, new: Term, policy: Policy, now: datetime) -> Shift:
    """What another term would mean for the sets of one customer."""
    sizes = dict(BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE).values_list("pk", "new_bytes"))
    [one] = facts.read([stream], policy)
    found = Shift(sets=len(one.sets))
    _count(found, what_if(one.sets, one.choices, (policy, old), (policy, new), now), sizes, now)
    return found


def _count(found: Shift, moved: Sequence[Moved], sizes: dict[uuid.UUID, int], now: datetime) -> None:
    earlier = [one for one in moved if one.new < one.old]
    found.earlier += len(earlier)
    found.earlier_bytes += _bytes_of(earlier, sizes)
    found.later += sum(one.new > one.old for one in moved)
    at_once = [one for one in moved if one.new < now <= one.old]
    found.at_once += len(at_once)
    found.at_once_bytes += _bytes_of(at_once, sizes)
    found.customers += bool(moved)


def _bytes_of(moved: Sequence[Moved], sizes: dict[uuid.UUID, int]) -> int:
    return sum(sizes.get(uuid.UUID(one.set_id), 0) for one in moved)
