"""The final set: of a frozen customer, whole at every required location and proved. The package is made from it (design section 9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db.models import QuerySet

from audit.models import Stream
from backups.errors import NotReturned
from backups.models import BackupSet
from backups.nightly import back_up, catch_up
from backups.vault import Vault
from subscriptions.models import DeletionRequest

# A set whose rows are not what history says is not made again sooner: nothing changes until a person does something.
BROKEN_AGAIN = timedelta(hours=1)


def final_set(vault: Vault, request: DeletionRequest, progress: Callable[[str], None]) -> BackupSet:
    """One that was begun after the freeze, made now where there is none. Raises `NotReturned` when it is not good, and as `back_up`."""
    good = _good(request)
    if good is not None:
        return good
    _refuse_broken(vault, request)
    stream = Stream.objects.get(pk=request.stream)
    newest = _since(request).first()
    if newest is not None and newest.proof == BackupSet.Proof.PROVED:
        troubles = catch_up(vault, stream)
    else:
        troubles = back_up(vault, stream, progress=progress).troubles
    good = _good(request)
    if good is None:
        _refuse_broken(vault, request)
        raise NotReturned(
            "The final set is not at every required location yet ("
            + ("; ".join(f"{name}: {why}" for name, why in troubles.items()) or "its copies are on their way")
            + "). Mend the location: it is brought what it lacks, and the return goes on by itself."
        )
    return good


def _since(request: DeletionRequest) -> QuerySet[BackupSet]:
    if request.frozen_at is None:
        raise NotReturned("The data is not frozen yet.")
    made = BackupSet.objects.filter(stream=request.stream, state=BackupSet.State.MADE, damaged_at=None)
    return made.filter(started_at__gte=request.frozen_at).order_by("-started_at")


def _good(request: DeletionRequest) -> BackupSet | None:
    return _since(request).filter(protected_at__isnull=False, proof=BackupSet.Proof.PROVED).first()


def _refuse_broken(vault: Vault, request: DeletionRequest) -> None:
    """What was set right since makes the next set good, so one is tried now and then."""
    newest = _since(request).first()
    if newest is None or newest.proof == BackupSet.Proof.PROVED:
        return
    if vault.clock() - newest.started_at < BROKEN_AGAIN:
        raise NotReturned(
            f"The rows of the final set are not what history says ({newest.proof_text.splitlines()[0]}). See the set's page and its "
            "finding: a person finds out who changed the data past its history and sets it right. A new set is tried every hour."
        )
