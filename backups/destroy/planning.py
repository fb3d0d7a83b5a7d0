"""What would be destroyed: the dry run, by the same listing as the real one, and what an approval binds to (P12; design section 9).

The document is JSON without a moment in it, so the same holdings give the same digest. It has ids, names of objects, counts and sizes: no
content. One customer a plan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import models

from audit import registry, two_person
from audit.registry import SYSTEM_STREAM
from backups.destroy import inventory
from backups.destroy.comparing import still_holds
from backups.destroy.hot_objects import Keep
from backups.destroy.inventory import AtPlace
from backups.errors import NoLocation, NotPlanned
from backups.locations import Place
from backups.models import DestructionPlan, Purge
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import approving
from subscriptions.ending.moving import acts, check_person
from subscriptions.ending.states import Move, State
from subscriptions.models import DeletionRequest, Export, LegalHold

__all__ = ["STAYS", "Plan", "approve", "keep", "plan_of", "still_holds", "stored_plan"]

FORMAT = 1
# What stays and why: part of what is approved.
STAYS = (
    ("the customer's row with name and code, its contracts and terms", "its id and code are never used again; evidence for 7 years"),
    ("requests, receipts, approvals, holds, findings and events", "the evidence trail: ids, counts, digests and the names of staff"),
    ("sets, runs and nights as ids, dates and counts", "evidence that backups were made as promised; their content goes"),
    ("the signed marker at each location", "it keeps the customer from being made again"),
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """`document` is what is approved (`comparing.still_holds` knows its members). `waits` says why it cannot be approved now; `holds` are
    the open legal holds."""

    request: DeletionRequest
    document: dict[str, Any]
    waits: tuple[str, ...]
    holds: tuple[LegalHold, ...]
    places: tuple[AtPlace, ...]

    @cached_property
    def digest(self) -> str:
        return two_person.digest_of(self.document)

    @property
    def objects(self) -> int:
        return sum(place.count for place in self.places)

    @property
    def bytes(self) -> int:
        return sum(place.bytes for place in self.places)

    @property
    def rows(self) -> int:
        return sum(self.document["live"].values()) + sum(self.document["history"].values()) + int(self.document["journal"])

    def summary(self) -> list[tuple[str, str, int, int]]:
        """For a page: what, where, how many, bytes; a line for each place and kind."""
        lines = [
            line
            for place in self.places
            for line in (
                ("sets and stored objects", place.place, len(place.objects), sum(place.objects.values())),
                ("keys", place.place, len(place.keys), sum(place.keys.values())),
                ("versions, markers and unfinished uploads", place.place, len(place.hidden), 0),
                ("segments with sections of it", place.place, len(place.hot), sum(one.size for one in place.hot)),
            )
        ]
        here = self.document
        lines += [(f"live rows of {label}", "database", count, 0) for label, count in here["live"].items()]
        lines += [(f"history rows of {label}", "database", count, 0) for label, count in here["history"].items()]
        lines.append(("changes in the journal", "database", here["journal"], 0))
        lines.append(("uploaded files", "upload storage", len(here["uploads"]), sum(here["uploads"].values())))
        lines += [(what, "this machine", len(here[what]), 0) for what in ("packages", "exports", "spool")]
        return [*lines, *(("copies that nobody can look at", name, count, 0) for name, count in here["out_of_reach"].items())]


def plan_of(vault: Vault, request: DeletionRequest, progress: Progress = lambda _: None, keep: Keep = lambda: None) -> Plan:
    """The plan as it is now. Raises `NoLocation` unless every location answers, for what nobody can list nobody can approve;
    `NotPlanned` for what is no customer, or has ended; `UploadsUnavailable` (an `OSError`). `keep` keeps the caller's lease."""
    stream = request.stream
    if stream == SYSTEM_STREAM or State(request.state) in (State.DESTROYED, State.CANCELLED):
        raise NotPlanned(f"Nothing of it is to be destroyed: the request is {request.state}.")
    places = _listed(vault, request, progress, keep)
    rows = inventory.in_database(stream)
    disk = inventory.on_disk(request.customer, vault.spool)
    document = {
        "format": FORMAT,
        "kind": "destruction",
        "customer": str(stream),
        "code": request.customer.code,
        "request": request.pk,
        "locations": {found.place: _described(place, found, request) for place, found in places},
        "out_of_reach": inventory.out_of_reach(stream),
        "live": dict(rows.live),
        "history": dict(rows.history),
        "journal": rows.journal,
        "newest": rows.newest,
        "content": _newest_versions(request),
        "purges": Purge.objects.filter(customer=stream).count(),
        "uploads": inventory.uploads(stream),
        "packages": {str(number): path for number, path in disk.packages.items()},
        "exports": sorted(Export.objects.filter(customer=stream).values_list("pk", flat=True)),
        "spool": list(disk.spool),
        "stays": [list(one) for one in STAYS],
    }
    waits = (f"{rows.unnumbered:,} changes have no number yet: they are not in the final set",) if rows.unnumbered else ()
    open_holds = LegalHold.objects.filter(customer=stream, released_at=None).order_by("placed_at")
    return Plan(request, document, waits, tuple(open_holds), tuple(found for _, found in places))


def _listed(vault: Vault, request: DeletionRequest, progress: Progress, keep: Keep) -> list[tuple[Place, AtPlace]]:
    usable, troubles = vault.usable()
    found = []
    for place in usable:
        progress(f"listing {place.name}")
        try:
            found.append((place, inventory.at_place(place, request.stream, vault.fingerprint, keep=keep)))
        except StoreError as problem:
            troubles[place.name] = str(problem)
    if troubles or not found:
        raise NoLocation("Every location must answer: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    return found


def _described(place: Place, found: AtPlace, request: DeletionRequest) -> dict[str, Any]:
    return {
        "url": found.url,
        "objects": dict(found.objects),
        "keys": dict(found.keys),
        "hidden": sorted({f"{kind} of {name}" for name, kind in found.hidden}),
        "segments": sorted({one.number for one in found.hot}),
        "missing": inventory.missing_at(place, found, request.stream),
    }


def _newest_versions(request: DeletionRequest) -> str:
    """SHA-256 over the largest history id of each model and the sums of the live rows' keys: what was written or exchanged shows, however
    the counts stand."""
    digest = hashlib.sha256()
    for protected in registry.of_stream(request.stream):
        history = inventory.history_rows(protected, request.stream)
        told = history.aggregate(newest=models.Max("history_id"), oldest=models.Min("history_id"), count=models.Count("history_id"))
        digest.update(f"{protected.label} {told['newest']} {told['oldest']} {told['count']}\n".encode())
    return digest.hexdigest()


def keep(plan: Plan, now: datetime) -> DestructionPlan:
    """The plan's row, whole, for as long as the evidence stands. Inside `audit.acting(...)`; the same plan is kept once."""
    known = DestructionPlan.objects.filter(digest=plan.digest).first()
    if known is not None:
        return known
    row = DestructionPlan(request=plan.request, digest=plan.digest, made_at=now, objects_listed=plan.objects, bytes_listed=plan.bytes)
    row.packed = DestructionPlan.pack(plan.document)
    row.save()
    return row


def approve(
    vault: Vault, request: DeletionRequest, *, seen: str, by: Any, password: str, code: str, why: str, now: datetime
) -> DeletionRequest:
    """The request, approved and bound to the plan as it is now, which is the one of the digest `seen` that the person was shown.

    Raises what `plan_of` and `approving.approve` raise, `PlanChanged` when the plan is another one by now, and `NotPlanned` while something
    stands in its way.
    """
    check_person(request.stream, by, Move.APPROVE)
    plan = plan_of(vault, request)
    if plan.digest != seen:
        raise two_person.PlanChanged(
            "The plan is another one than the one that you were shown. Look at it again: approve that one if it is right."
        )
    if plan.waits:
        raise NotPlanned(f"It cannot be approved yet: {'; '.join(plan.waits)}.")
    with acts(by, why):  # before the approval, which commits by itself: a plan that nobody approved binds nobody
        keep(plan, now)
    return approving.approve(request, by=by, password=password, code=code, why=why, plan=plan.document, now=now)


def stored_plan(request: DeletionRequest) -> dict[str, Any]:
    """The document that the approval is bound to, held against its digest. Raises `NotPlanned` when it is not there, or not that one."""
    row = DestructionPlan.objects.filter(request=request, digest=request.plan_digest).first()
    if row is None:
        raise NotPlanned("The plan that was approved is not stored here: it must be approved anew.")
    document = row.document
    if two_person.digest_of(document) != request.plan_digest:
        raise NotPlanned("The stored plan is not the one that was approved: somebody altered it. It must be approved anew.")
    return document
