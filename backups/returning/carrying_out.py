"""One customer's return, by one process at a time: from the freeze to the verified package (P10).

The queue delivers at least once and may lose: an attempt begins with a guarded update that one process wins. A killed one is begun again at
the next look; what it left on the disk is thrown away, its freeze and its final set are used. Nothing gives up: what stands in the way is
told with the row, and tried again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q

from audit import actors
from audit.durability import flush
from audit.errors import AuditError
from backups import exports
from backups.errors import BackupError, LeaseLost, NotReturned
from backups.leases import holder_is_gone, process_name
from backups.manifest import BadManifest
from backups.models import BackupSet, ReturnWork
from backups.returning import packages
from backups.returning.checking import check
from backups.returning.encrypting import encrypt
from backups.returning.final_set import final_set
from backups.returning.freezing import freeze
from backups.returning.packing import Packed, pack
from backups.returning.shipped import refuse_unshipped
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.ending import returns
from subscriptions.ending.states import State
from subscriptions.models import DataReturn, DeletionRequest

logger = logging.getLogger(__name__)

AGAIN = timedelta(minutes=5)
# What is likely to be over in a moment, such as changes that are being shipped.
SOON, SOON_TRIES = timedelta(seconds=30), 10
QUEUED_FOR = timedelta(minutes=5)
# A worker on another machine that said nothing for so long is gone; should it wake up, it finds its attempt over.
SILENT = timedelta(hours=1)
TOLD_EVERY = 1.0
WHY = "the data is returned"


def look(now: datetime) -> None:
    """A row for each request that is `returning`, killed attempts begun again, packages that nobody needs removed: every minute. Stands
    inside `audit.acting(...)`."""
    for request in DeletionRequest.objects.filter(state=State.RETURNING.value).exclude(return_work__state__in=_OPEN):
        ReturnWork.objects.update_or_create(request=request, defaults={"state": ReturnWork.State.WAITING, "next_try_at": now})
    for row in ReturnWork.objects.filter(state=ReturnWork.State.RUNNING):
        if holder_is_gone(row.holder) or (row.progress_at is not None and row.progress_at <= now - SILENT):
            mine = ReturnWork.objects.filter(pk=row.pk, state=row.state, attempts=row.attempts)
            trouble = "The process at work on it died. It is begun again."
            mine.update(state=ReturnWork.State.WAITING, next_try_at=now, queued_at=None, trouble=trouble, ended_at=now, progress="")
    packages.remove_needless(now)


_OPEN = (ReturnWork.State.WAITING, ReturnWork.State.RUNNING)


def waiting(now: datetime) -> list[int]:
    """The ids of the rows that may begin now and have no message in the queue, as far as we know."""
    unqueued = Q(queued_at=None) | Q(queued_at__lte=now - QUEUED_FOR)
    due = Q(next_try_at=None) | Q(next_try_at__lte=now)
    rows = ReturnWork.objects.filter(unqueued, due, state=ReturnWork.State.WAITING, request__state=State.RETURNING.value)
    return list(rows.order_by("next_try_at", "pk").values_list("pk", flat=True))


def carry_out(vault: Vault, pk: int, *, progress: Callable[[str], None] = lambda _: None) -> ReturnWork | None:
    """One attempt; the row as it stands after it, None when it was not to be begun. Raises nothing that the data, a location or the disk
    can cause: it is recorded with the row."""
    attempt = _begin(vault, pk, progress)
    if attempt is None:
        return None
    with actors.acting("worker", reason=WHY, source=f"return:{attempt.request.pk}"):
        try:
            _make(vault, attempt)
        except _EXPECTED as problem:
            attempt.failed(str(problem) or type(problem).__name__, vault.clock())
        except DatabaseError as problem:
            logger.exception("The return of request %s failed", attempt.request.pk)
            attempt.failed(f"The database refused it ({type(problem).__name__}); the log says what.", vault.clock())
        except BaseException as problem:
            attempt.failed(f"{type(problem).__name__}; the log says what.", vault.clock())
            raise
        else:
            attempt.record(state=ReturnWork.State.DONE, ended_at=vault.clock(), trouble="", progress="", queued_at=None)
    return ReturnWork.objects.select_related("request").get(pk=pk)


_EXPECTED: tuple[type[Exception], ...] = (BackupError, AuditError, StoreError, BadManifest, OSError)


@dataclass(slots=True)
class _Attempt:
    """One attempt, begun: only it may record what came of it."""

    row: ReturnWork
    request: DeletionRequest
    clock: Callable[[], datetime]
    progress: Callable[[str], None]
    told_at: float = field(default=0.0)

    def record(self, **values: Any) -> bool:
        """Whether this attempt is still the one."""
        mine = ReturnWork.objects.filter(pk=self.row.pk, state=ReturnWork.State.RUNNING, attempts=self.row.attempts)
        return bool(mine.update(**values))

    def tell(self, line: str) -> None:
        """Shows how far it is. Raises `NotReturned` when the request goes another way by now."""
        if time.monotonic() - self.told_at >= TOLD_EVERY:
            self.step(line)

    def step(self, line: str) -> None:
        self.told_at = time.monotonic()
        self.progress(line)
        if not self.record(progress=line[:200], progress_at=self.clock()):
            raise LeaseLost("Another process makes this package by now.")
        if not DeletionRequest.objects.filter(pk=self.request.pk, state=State.RETURNING.value).exists():
            raise NotReturned("The request is not returning any more: no package was made.")

    def failed(self, trouble: str, now: datetime) -> None:
        again = SOON if self.row.attempts <= SOON_TRIES else AGAIN
        state = ReturnWork.State.WAITING
        self.record(state=state, ended_at=now, next_try_at=now + again, trouble=trouble[:1000], progress="", queued_at=None)


def _begin(vault: Vault, pk: int, progress: Callable[[str], None]) -> _Attempt | None:
    now = vault.clock()
    row = ReturnWork.objects.select_related("request__customer").get(pk=pk)
    begun = {"attempts": row.attempts + 1, "started_at": now, "holder": process_name()}
    seen = ReturnWork.objects.filter(pk=pk, state=ReturnWork.State.WAITING, attempts=row.attempts)
    seen = seen.filter(request__state=State.RETURNING.value)
    if not seen.update(state=ReturnWork.State.RUNNING, ended_at=None, progress="", progress_at=now, **begun):
        return None
    row.attempts = row.attempts + 1
    return _Attempt(row, row.request, vault.clock, progress)


def _make(vault: Vault, attempt: _Attempt) -> None:
    request = attempt.request
    attempt.step("waiting for those who write")
    freeze(request, vault.clock())
    attempt.step("looking whether its last changes are shipped")
    refuse_unshipped(request.stream)
    attempt.step("making the final set")
    purges = exports.purges_of(request.stream)
    final = final_set(vault, request, attempt.tell)
    number = DataReturn.objects.filter(request=request).count() + 1
    folder = packages.clear_building(request)
    folder.mkdir(parents=True, mode=0o700)
    try:
        packed = pack(vault, request, final, number, folder, attempt.tell)
        attempt.step("verifying the package")
        check(packed, request.stream, vault.fingerprint, attempt.tell)
        attempt.step("sealing the package" if attempt.row.encrypt_to else "the package is verified")
        _give_out(vault, attempt, final, packed, purges)
    finally:
        packages.clear_building(request)


def _give_out(vault: Vault, attempt: _Attempt, final: BackupSet, packed: Packed, purges: int) -> None:
    """In one transaction the file gets its name, the request is `returned`, and the export is written down."""
    request, path, encrypt_to = attempt.request, packed.path, attempt.row.encrypt_to
    if encrypt_to:
        path = encrypt(path, _sha256(path), encrypt_to)
    sha256, size = _sha256(path), path.stat().st_size
    folder = packages.folder_of(request, packed.about.number)
    name = packed.about.folder + "".join(path.suffixes)
    target = folder / name

    def release() -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        path.replace(target)  # what stands there was left by a process that died before the request was returned
        os.chmod(target, 0o600)  # noqa: PTH101
        flush(folder)
        flush(folder.parent)
        returns.returned(
            request,
            set_id=final.pk,
            package_sha256=sha256,
            manifest_sha256=packed.finished.manifest_sha256,
            size=size,
            file_name=name,
            path=str(target),
            encrypted_to=encrypt_to,
            counts=packed.written.counts,
            now=vault.clock(),
        )

    try:
        _record(vault, attempt, packed, purges, release, target, sha256, size)
    except BaseException:
        target.unlink(missing_ok=True)  # rolled back: no package stands under that name
        raise


def _record(
    vault: Vault, attempt: _Attempt, packed: Packed, purges: int, release: Callable[[], None], target: Path, sha256: str, size: int
) -> None:
    request, totals = attempt.request, packed.written.totals
    with transaction.atomic():
        # In this order also whoever cancels takes them: the request, then the stream.
        DeletionRequest._base_manager.select_for_update().get(pk=request.pk)
        exports.hand_over(
            vault,
            request.customer,
            release,
            what=f"return of all data, package {packed.about.number}",
            path=str(target),
            sha256=sha256,
            reason=WHY,
            set_id=packed.about.set_id,
            purges=purges,
            rows=totals["rows"],
            files=totals["files"],
            bytes=size,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
