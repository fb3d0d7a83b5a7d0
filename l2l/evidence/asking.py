"""Packs that people ask for: made by the worker, downloaded, and gone after a month (P13, P5).

A row says how far each is. A worker that is killed leaves one that `look` gives to the next, three times at most; what fails says why. The
file lies below the exports' folder, which only this user can open; asking, making and fetching are events.
"""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import FileSystemStorage
from django.db import transaction
from django.http import StreamingHttpResponse
from django_q.tasks import async_task

import audit
from audit import actors, downloads, events
from audit.events import Event
from audit.models import EvidencePack
from backups import heartbeats, runs
from backups.errors import BackupError
from backups.leases import holder_is_gone, process_name
from backups.queueing import WORKER
from backups.stores.contract import StoreError
from backups.vault import Vault
from l2l.evidence import making
from l2l.evidence.making import Made

ASKS, SEES = "l2l_audit.add_evidencepack", "l2l_audit.view_evidencepack"
KEPT = timedelta(days=30)
QUEUED_AGAIN_AFTER = timedelta(minutes=5)
TOLD_EVERY = 1.0
MOST_ATTEMPTS = 3
State = EvidencePack.State


class PackRefused(BackupError):
    """This person may not ask for a pack or take one, or there is none to be taken; the message says which."""


def folder_of(pack: EvidencePack) -> Path:
    """Where it is made and lies."""
    return Path(settings.L2L_EXPORTS) / f"evidence-{pack.pk}"


def ask(*, first: date, last: date, seed: str, reason: str, by: Any, now: datetime) -> EvidencePack:
    """The worker will make it. An empty seed: a random one. Raises `PackRefused`, `NotMade` (a period or a seed that cannot be)."""
    if not by.has_perm(ASKS):
        raise PackRefused(f"{by} may not ask for an evidence pack: it needs the right {ASKS}.")
    if not reason.strip():
        raise PackRefused("Say what it is needed for.")
    making.period_of(first, last, now)
    ident = uuid.uuid4()
    seed = making.checked_seed(seed.strip()) or making.seed_for(ident, now)
    with transaction.atomic(), audit.because(reason):
        asked = {"asked_by": actors.current().name[:200], "asked_at": now, "reason": reason.strip()}
        pack = EvidencePack.objects.create(pk=ident, first=first, last=last, seed=seed, **asked)
        events.record(Event.PACK_ASKED, subject=pack, facts={"first": first.isoformat(), "last": last.isoformat(), "seed": seed})
        queue(pack.pk)
    return pack


def queue(pk: uuid.UUID) -> None:
    """With the caller's transaction, for the queue is in the same database."""
    async_task("l2l.tasks.make_evidence_pack", str(pk), q_options={"cluster": WORKER, "group": "evidence"})


def carry_out(vault: Vault, pk: uuid.UUID) -> EvidencePack | None:
    """Makes it, once, whoever is called how often; None when it is not waiting. What fails is told in its row."""
    now = vault.clock()
    claim = EvidencePack.objects.filter(pk=pk, state=State.WAITING)
    if not claim.update(state=State.RUNNING, begun_at=now, holder=process_name(), progress="", trouble=""):
        return None
    pack = EvidencePack.objects.get(pk=pk)
    EvidencePack.objects.filter(pk=pk).update(attempts=pack.attempts + 1)
    try:
        with actors.acting("worker", reason="an evidence pack", source=f"evidence-pack:{pk}"):
            _finish(pack, _made(vault, pack), vault.clock())
    except (BackupError, StoreError, OSError) as problem:
        _give_up(pack, str(problem))
    except BaseException as problem:
        _give_up(pack, f"{type(problem).__name__}: the worker's log says more.")  # its words may quote what people wrote
        raise
    pack.refresh_from_db()
    return pack


def _made(vault: Vault, pack: EvidencePack) -> Made:
    shutil.rmtree(folder_of(pack), ignore_errors=True)  # what a killed try left
    runs.owe_nights(vault.clock())
    period = making.period_of(pack.first, pack.last, vault.clock())
    path = folder_of(pack) / f"evidence-{pack.first}-to-{pack.last}.zip"
    return making.make(vault, period, seed=pack.seed, path=path, ident=pack.pk, tell=_telling(pack))


def _telling(pack: EvidencePack) -> Callable[[str], None]:
    told_at = 0.0

    def tell(line: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TOLD_EVERY:
            told_at = time.monotonic()
            heartbeats.beat(WORKER)
            EvidencePack.objects.filter(pk=pack.pk).update(progress=line[:200])

    return tell


def _finish(pack: EvidencePack, made: Made, now: datetime) -> None:
    said: dict[str, Any] = {"file_name": made.path.name, "size": made.size, "sha256": made.sha256, "made_at": now, "expires_at": now + KEPT}
    facts = {"first": pack.first.isoformat(), "last": pack.last.isoformat(), "sha256": made.sha256, "bytes": made.size}
    with transaction.atomic():
        mine = EvidencePack.objects.filter(pk=pack.pk, state=State.RUNNING, holder=process_name())
        if mine.update(state=State.MADE, progress="", unreconciled="\n".join(made.unreconciled), **said):
            events.record(Event.PACK_MADE, subject=pack, facts={**facts, "unreconciled": len(made.unreconciled)})


def _give_up(pack: EvidencePack, trouble: str) -> None:
    """Nothing of it stays, and its row says why."""
    shutil.rmtree(folder_of(pack), ignore_errors=True)
    EvidencePack.objects.filter(pk=pack.pk, state=State.RUNNING).update(state=State.FAILED, trouble=trouble, progress="")


def look(now: datetime) -> str:
    """What a killed worker left is given to the next, what the queue lost is queued again, what was there for its time goes."""
    left = _recover()
    for pack in EvidencePack.objects.filter(state=State.WAITING, asked_at__lt=now - QUEUED_AGAIN_AFTER):
        queue(pack.pk)
    return f"{left} left by a worker, {_expire(now)} removed"


def _recover() -> int:
    left = [pack for pack in EvidencePack.objects.filter(state=State.RUNNING) if holder_is_gone(pack.holder)]
    for pack in left:
        if pack.attempts >= MOST_ATTEMPTS:
            _give_up(pack, f"The worker ended while it was at it, {pack.attempts} times. Look at its log and memory, then ask again.")
        else:
            _begin_again(pack)
    return len(left)


def _begin_again(pack: EvidencePack) -> None:
    mine = EvidencePack.objects.filter(pk=pack.pk, state=State.RUNNING, holder=pack.holder)
    mine.update(state=State.WAITING, trouble="The worker ended while it was at it. It begins again.")


def _expire(now: datetime) -> int:
    """What cannot be removed now is tried again by the next look."""
    removed = 0
    for pack in EvidencePack.objects.filter(state=State.MADE, expires_at__lte=now):
        shutil.rmtree(folder_of(pack), ignore_errors=True)
        if not folder_of(pack).exists():
            removed += EvidencePack.objects.filter(pk=pack.pk).update(state=State.EXPIRED)
    return removed


def download(pack: EvidencePack, *, by: Any, now: datetime) -> StreamingHttpResponse:
    """The file, streamed; an event each time. Raises `PackRefused`."""
    if not by.has_perm(SEES):
        raise PackRefused(f"{by} may not take an evidence pack: it needs the right {SEES}.")
    if pack.state != State.MADE or pack.expires_at is None or pack.expires_at <= now:
        raise PackRefused("This pack is not there to be downloaded (any more). Ask for it again, with the same period and seed.")
    try:
        answer = downloads.attachment(FileSystemStorage(folder_of(pack)), pack.file_name, size=pack.size or 0, filename=pack.file_name)
    except OSError:
        raise PackRefused("The file of this pack is no longer on the server. Ask for it again, with the same period and seed.") from None
    events.record(Event.PACK_FETCHED, subject=pack, facts={"sha256": pack.sha256, "bytes": pack.size})
    return answer
