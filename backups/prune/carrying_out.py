"""One pass of retention: decide, let go, remove (P6)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from audit.events import Event, record
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from backups import leases, policies, read_leases, removing
from backups.catalogue import batches
from backups.errors import Busy, LeaseLost, NoLocation
from backups.hot import timelines
from backups.leases import Held, fenced
from backups.locations import Place
from backups.models import BackupSet, Blob
from backups.policy import Policy, in_force
from backups.prune import clock_doubt, deciding, due, facts
from backups.removing import Removal
from backups.vault import Vault
from subscriptions import holds
from subscriptions.holds import OnHold

LEASE = "prune"
TOGETHER = 200


@dataclass(slots=True)
class Pass:
    """What one pass came to: `sets` that left, `objects` and stored `bytes` that are at no location any more, `periods` that were decided.
    `held` are the streams at which a legal hold keeps what is due, `waits` those at which something else does, with why; `left` says what
    could not be removed yet."""

    looked_at: int = 0
    periods: int = 0
    sets: int = 0
    objects: int = 0
    bytes: int = 0
    held: list[str] = field(default_factory=list)
    waits: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether all that was to go is gone."""
        return not self.left


def carry_out(vault: Vault, *, only: Iterable[uuid.UUID] | None = None, progress: Callable[[str], None] = lambda _: None) -> Pass:
    """One pass over the streams at which anything is due (of `only` these). Stands inside `audit.acting(...)`.

    Raises `Stopped`, `ClockInDoubt`, `Busy` while another pass runs, `NoLocation` when no location can be used.
    """
    timelines.refuse_stopped()
    now = vault.clock()
    policy = in_force(policies.versions(), now)
    with leases.holding(LEASE, doing="prune", clock=vault.clock) as whole:
        cleared = clock_doubt.refuse_doubtful(vault, now)
        places, troubles = vault.usable()
        if not places:
            raise NoLocation("No location can be used: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
        read_leases.forget_old(now)
        found = Pass()
        what = due.due(policy, now)
        wanted = set(what.streams if only is None else only)
        for batch in batches_of([stream for stream in what.streams if stream in wanted]):
            whole.keep()
            _decide(batch, what.anew, policy, now, whole, cleared, found)
            _let_go(vault, places, batch, policy, cleared, whole, found, progress)
    return found


def batches_of(streams: Sequence[uuid.UUID]) -> Iterable[Sequence[uuid.UUID]]:
    for start in range(0, len(streams), TOGETHER):
        yield streams[start : start + TOGETHER]


def _decide(
    batch: Sequence[uuid.UUID], anew: set[uuid.UUID], policy: Policy, now: datetime, whole: Held, cleared: bool, found: Pass
) -> None:
    in_part = facts.read_due([stream for stream in batch if stream not in anew], policy, now)
    enough = [one for one in in_part if not deciding.needs_all(one, policy, now)]
    read = enough + facts.read(sorted(set(batch) - {one.stream for one in enough}), policy)
    decided = [deciding.decide(one, policy, now, is_excused=deciding.is_excused, clock_cleared=cleared) for one in read]
    found.periods += deciding.record(whole, decided)
    found.looked_at += len(decided)
    stopped = [one for one in decided if one.overdue and (one.waits or one.facts.held)]
    names = dict(Stream.objects.filter(pk__in=[one.facts.stream for one in stopped]).values_list("pk", "name"))
    found.held += [names[one.facts.stream] for one in stopped if one.facts.held]
    found.waits |= {names[one.facts.stream]: one.waits for one in stopped if not one.facts.held}


def _let_go(
    vault: Vault,
    places: Sequence[Place],
    batch: Sequence[uuid.UUID],
    policy: Policy,
    cleared: bool,
    whole: Held,
    found: Pass,
    progress: Callable[[str], None],
) -> None:
    """Stream by stream, each under its own lease: one that is at work, or on hold by now, has its turn at the next pass."""
    over = BackupSet.objects.filter(stream__in=batch, state=BackupSet.State.MADE, goes_at__lt=vault.clock())
    wanted = set(over.order_by().values_list("stream", flat=True)) | (due.cut_short() & set(batch))
    for stream in Stream.objects.filter(pk__in=wanted).order_by("name"):
        if stream.name in found.waits or stream.name in found.held:
            continue
        progress(f"{found.looked_at} customers looked at, {found.sets} sets let go")
        whole.keep()
        try:
            removal, sets = let_go(vault, places, stream, policy, clock_cleared=cleared)
        except OnHold:
            found.held.append(stream.name)
            continue
        except (Busy, LeaseLost) as reason:
            found.waits[stream.name] = str(reason)
            continue
        found.sets += sets
        found.objects += removal.objects
        found.bytes += removal.bytes
        found.left += removal.left


def let_go(vault: Vault, places: Sequence[Place], stream: Stream, policy: Policy, *, clock_cleared: bool = False) -> tuple[Removal, int]:
    """One stream: what no rule keeps leaves, and what was condemned is removed; what was removed, and how many sets left now.

    Raises `Busy`, `OnHold`, `LeaseLost`.
    """
    with leases.holding(leases.lease_name(stream.pk), doing="prune", clock=vault.clock) as lease:
        with fenced(lease):
            holds.refuse_held(stream.pk)
            sets = _leave(vault, stream.pk, policy, clock_cleared)
            removing.condemn(stream.pk, lease)
            if sets:
                facts_of = {"sets": len(sets), "policy": policy.number}
                record(Event.PRUNE_DECIDED, subject=f"stream:{stream.pk}", customer=_customer(stream.pk), facts=facts_of)
        removal = removing.remove_condemned(places, stream.pk, lease)
        gone = _note_removed(vault, stream.pk, lease, removal)
        if gone or removal.objects:
            with fenced(lease):
                told = {"sets": gone, "objects": removal.objects, "bytes": removal.bytes}
                record(Event.PRUNED, subject=f"stream:{stream.pk}", customer=_customer(stream.pk), facts=told)
    return removal, len(sets)


def _customer(stream: uuid.UUID) -> uuid.UUID | None:
    return stream if stream != SYSTEM_STREAM else None


def _leave(vault: Vault, stream: uuid.UUID, policy: Policy, clock_cleared: bool) -> list[uuid.UUID]:
    """Decided anew, now that nobody else is at work on the stream; a set that somebody reads stays."""
    now = vault.clock()
    [fresh] = facts.read([stream], policy)
    decided = deciding.decide(fresh, policy, now, is_excused=deciding.is_excused, clock_cleared=clock_cleared)
    over = [uuid.UUID(one.set_id) for one in decided.going]
    rows = BackupSet.objects.select_for_update().filter(pk__in=over, state=BackupSet.State.MADE).order_by("pk")
    free = [row.pk for row in rows.defer("blob_ids")]
    leaving = sorted(set(free) - read_leases.being_read(free, now))
    for batch in batches(leaving):
        BackupSet.objects.filter(pk__in=batch).update(state=BackupSet.State.LEAVING, left_at=now)
    return leaving


def _note_removed(vault: Vault, stream: uuid.UUID, lease: Held, removal: Removal) -> int:
    """Sets of whose own objects nothing is listed any more; of the others why they still are."""
    leaving = BackupSet.objects.filter(stream=stream, state=BackupSet.State.LEAVING)
    own = (Blob.Kind.BODY, Blob.Kind.ENVELOPE)
    standing = set(
        Blob.objects.filter(stream=stream, kind__in=own, made_by__state=BackupSet.State.LEAVING).values_list("made_by", flat=True)
    )
    with fenced(lease):
        gone = leaving.exclude(pk__in=standing).update(state=BackupSet.State.REMOVED, removed_at=vault.clock(), blob_ids=b"", trouble="")
        leaving.filter(pk__in=standing).update(trouble="; ".join(removal.left)[:500])
    return gone
