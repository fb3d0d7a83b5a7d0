"""Every place is listed again once the steps of a round are done: at once, after a day, after a week (P12; design section 9).

A sweep counts only when every location answered. One that finds nothing is followed by what is registered for its stage (`stages.py`): the
drill at once, the certificate after a day, its supplement after a week. One that finds something opens the case again: a certified
customer is `destroying` once more, and every step is taken again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import transaction

from audit import findings
from backups.destroy import catalogue_rows, content_rows, disk, inventory, stages, steps, texts
from backups.destroy.upload_files import files_of
from backups.errors import NoLocation
from backups.models import DestructionSweep
from backups.vault import Vault
from subscriptions.ending import destroying
from subscriptions.ending.states import State
from subscriptions.models import DeletionRequest

Stage = DestructionSweep.Stage
AFTER = {Stage.AT_ONCE: timedelta(0), Stage.DAY: timedelta(hours=24), Stage.WEEK: timedelta(days=7)}

Progress = Callable[[str], None]


def sweep_due(
    vault: Vault, request: DeletionRequest, wanted: Callable[[], list[tuple[str, str]]], progress: Progress = lambda _: None
) -> str:
    """The sweeps whose time has come. Returns what stands in the way; empty when nothing does. `wanted`: see `steps.finished_at`.

    Raises `NoLocation` while a location does not answer, what a store raises, and what is raised by what is registered."""
    finished = steps.finished_at(request, wanted)
    if finished is None:
        return "" if request.state == State.DESTROYED else "Not every step is done."
    for stage in Stage:
        if vault.clock() < finished + AFTER[stage]:
            return ""
        if not _is_swept(request, stage):
            progress(f"all places are listed again, {stage.label}")
            found = look_everywhere(vault, request)
            if found:
                return _reopened(vault, request, stage, found)
            _proved(vault, request, stage)
    return ""


def look_everywhere(vault: Vault, request: DeletionRequest) -> dict[str, int]:
    """By place how many objects or rows of the customer there are; empty when there is nothing anywhere. Each segment's own index is
    read. Raises `NoLocation`, what a store raises, `UploadsUnavailable`."""
    stream = request.stream
    places, troubles = vault.usable()
    if troubles or not places:
        raise NoLocation("Every location must answer: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    counts = {place.name: inventory.at_place(place, stream, vault.fingerprint, read_all=True).count for place in places}
    counts |= {f"{place.name} without its marker": 1 for place in places if not place.store.exists(f"ended/{stream}.json")}
    counts["database"] = len(content_rows.left(stream)) and inventory.in_database(stream).rows
    counts["texts"] = len(texts.left(stream))
    counts["catalogue"] = len(catalogue_rows.left(stream)) + len(catalogue_rows.keys_left(stream))
    counts["uploads"] = sum(1 for _ in files_of(stream))
    counts["packages"] = len(disk.package_left(request.customer))
    counts["exports"] = len(disk.exports_left(vault, request.customer))
    return {name: count for name, count in counts.items() if count}


def _is_swept(request: DeletionRequest, stage: str) -> bool:
    return DestructionSweep.objects.filter(request=request, round=steps.round_of(request), stage=stage, clean=True).exists()


def _proved(vault: Vault, request: DeletionRequest, stage: str) -> None:
    """What is registered for the stage first, then the row that says it was swept: killed between, both come again. After a day the
    request is destroyed, in one transaction with the row."""
    now = vault.clock()
    for deed in stages.deeds(stage):
        deed(vault, request, now)
    with transaction.atomic():
        _record(request, stage, {}, now)
        if stage == Stage.DAY and request.state == State.DESTROYING:
            request.state = destroying.destroyed(request, now=now).state


def _reopened(vault: Vault, request: DeletionRequest, stage: str, found: dict[str, int]) -> str:
    """The next look takes every step again."""
    now, words = vault.clock(), ", ".join(f"{name}: {count:,}" for name, count in sorted(found.items()))
    text = (
        f"The sweep {stage.lower()} after the destruction of {request.customer.code} found something again ({words}). It is destroyed anew."
    )
    with transaction.atomic():
        _record(request, stage, found, now)
        if request.state == State.DESTROYED:
            facts = {"location": next(iter(sorted(found))).split(" ")[0], "objects": sum(found.values())}
            request.state = destroying.reopen(request, why=text, now=now, facts=facts).state
        findings.open_finding(findings.Kind.DESTRUCTION_LATE, subject=request, customer=request.stream, text=text, now=now)
    return text


def _record(request: DeletionRequest, stage: str, found: dict[str, int], now: datetime) -> None:
    sweep = DestructionSweep(request=request, round=steps.round_of(request), stage=stage, swept_at=now, clean=not found, found=found)
    sweep.save()
