"""Steps are written down before their first removal, and when a fresh look found nothing any more (P12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from audit.events import Event, record
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups.errors import NotDestroyed
from backups.leases import Held, fenced
from backups.models import DestructionStep, DestructionSweep, Location
from subscriptions import holds
from subscriptions.ending.approving import APPROVES
from subscriptions.ending.moving import acts, check_reason
from subscriptions.ending.states import State
from subscriptions.models import Customer, DeletionRequest

Step = DestructionStep.Step
# At each location, and otherwise once.
AT_LOCATIONS = (Step.MARKER, Step.ASIDE, Step.OBJECTS, Step.KEYS)
MOST_TROUBLE = 1000


@dataclass(frozen=True, slots=True)
class Gone:
    """What one try of a step removed, and what a fresh look then still found."""

    objects: int = 0
    bytes: int = 0
    left: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


def round_of(request: DeletionRequest) -> int:
    """1, and one more for each look afterwards that found something."""
    return 1 + DestructionSweep.objects.filter(request=request, clean=False).count()


def begun(request: DeletionRequest, step: str, location: str, lease: Held, now: datetime) -> DestructionStep:
    """The step's row, written before it removes anything; the one that stands when it was begun before. Raises `OnHold`, `LeaseLost`."""
    with fenced(lease):
        holds.refuse_held(request.stream)
        about = {"request": request, "round": round_of(request), "step": step, "location": location}
        known = DestructionStep.objects.filter(**about).first()
        if known is not None:
            return known
        made = DestructionStep(**about, began_at=now)
        made.save()
    return made


def tried(row: DestructionStep, gone: Gone, lease: Held, now: datetime) -> DestructionStep:
    """What came of one try. Done only when nothing is left; the event tells of it then."""
    trouble = _words(gone.left)
    unchanged = gone.left and trouble == row.trouble and not gone.objects
    if unchanged:
        return row
    with fenced(lease):
        row.objects_gone += gone.objects
        row.bytes_gone += gone.bytes
        row.counts = {name: row.counts.get(name, 0) + gone.counts.get(name, 0) for name in {*row.counts, *gone.counts}}
        row.trouble = trouble
        row.done_at = None if gone.left else now
        row.save()
        if row.done_at is not None:
            _tell(row)
    return row


def in_trouble(row: DestructionStep, trouble: str, lease: Held) -> None:
    """It could not be tried to its end; said once, until there is something else to say."""
    trouble = trouble[:MOST_TROUBLE]
    if trouble != row.trouble:
        with fenced(lease):
            row.trouble = trouble
            row.save()


def state_gone(row: DestructionStep, *, by: Any, why: str, now: datetime) -> DestructionStep:
    """A person who may approve destructions states that what lay at a location that is used no more was destroyed (the disk shredded, the
    bucket deleted by its owner), and how that is known. The certificate says whose word it is. Raises `NotDestroyed`, `ApprovalRefused`."""
    if not by.has_perm(APPROVES) or not Customer.objects.visible_to(by).filter(pk=row.request.stream).exists():
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not state that: it needs the right {APPROVES}, and to see the customer.")
    if by == row.request.requested_by:
        raise ApprovalRefused(NOT_ENTITLED, "Who asked for the destruction states nothing about it: somebody else does.")
    if row.request.state != State.DESTROYING:
        raise NotDestroyed(f"The request is {row.request.state}: nothing is being destroyed.")
    if row.done_at is not None or not row.location or Location.objects.filter(name=row.location, in_force=True).exists():
        raise NotDestroyed("Only of a location that the environment names no more a person's word counts; of others we look.")
    with acts(by, why):
        row.stated_by, row.stated_why, row.done_at, row.trouble = by.get_username(), check_reason(why), now, ""
        row.save()
        _tell(row)
    return row


def of_round(request: DeletionRequest) -> list[DestructionStep]:
    """The steps of the present round."""
    return list(DestructionStep.objects.filter(request=request, round=round_of(request)).order_by("id"))


def is_done(request: DeletionRequest, step: str, location: str = "") -> bool:
    return DestructionStep.objects.filter(
        request=request, round=round_of(request), step=step, location=location, done_at__isnull=False
    ).exists()


def finished_at(request: DeletionRequest, wanted: Callable[[], list[tuple[str, str]]]) -> datetime | None:
    """When the last step of this round was done; None while one of those `wanted` (step, location) is not, or never began."""
    done = {(one.step, one.location): one.done_at for one in of_round(request)}
    if any(done.get(one) is None for one in wanted()) or any(at is None for at in done.values()):
        return None
    return max(at for at in done.values() if at is not None)


def _tell(row: DestructionStep) -> None:
    facts = {"step": row.step, "location": row.location, "objects": row.objects_gone, "bytes": row.bytes_gone, "left": 0}
    record(Event.DESTRUCTION_STEP, subject=row, customer=row.request.stream, facts=facts)


def _words(left: tuple[str, ...]) -> str:
    shown = "; ".join(left[:5])
    return (f"{shown} and {len(left) - 5:,} more" if len(left) > 5 else shown)[:MOST_TROUBLE]
