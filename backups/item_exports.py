"""One item from the backups for a person: asked for, made by the queue, downloaded, and gone after a week (P14, P5).

What comes is the item with its whole history as of the newest second that is covered, else as the newest set has it: a zip with the folder
that `restore --only` writes, and the chosen version by itself. It lies below the exports' folder, which only this user can open, until
`expire` removes it. A worker that is killed leaves a row that `recover` ends.
"""

from __future__ import annotations

import json
import shutil
import time
import uuid
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from audit import actors, registry
from audit.registry import Protected
from backups import queueing
from backups.choosing import At, Only
from backups.errors import BackupError, Gap, NotCovered
from backups.finding import item
from backups.leases import holder_is_gone, process_name
from backups.manifest import BadManifest
from backups.models import ItemExport
from backups.restore import Report, restore
from backups.stores.contract import StoreError
from backups.vault import Vault
from subscriptions.models import Customer, Export

KEPT = timedelta(days=7)
QUEUED_AGAIN_AFTER = timedelta(minutes=2)
TOLD_EVERY = 1.0
ZIP = "item.zip"
State = ItemExport.State


class NotAsked(BackupError):
    """There is no such item, or no reason; the message says which."""


def folder_of(one: ItemExport) -> Path:
    """Where it is made and lies."""
    return Path(settings.L2L_EXPORTS) / f"item-{one.pk}"


def ask(stream: uuid.UUID, protected: Protected, key: str, history_id: int | None, now: datetime, *, reason: str) -> ItemExport:
    """The queue will take the item from the backups. Stands inside `audit.acting(...)`, whose actor asks. Raises `NotAsked`."""
    if not reason.strip():
        raise NotAsked("Say why it is needed: the reason stands in the list of exports.")
    if item(stream, protected, key) is None:
        raise NotAsked("This customer has no such item, and never had.")
    with transaction.atomic():
        asked = ItemExport.objects.create(
            stream_id=stream,
            model=protected.label,
            key=key,
            history_id=history_id,
            by=actors.current().name,
            reason=reason.strip()[:500],
            asked_at=now,
        )
        queueing.queue_item_export(asked.pk)
    return asked


def make(vault: Vault, pk: int) -> ItemExport | None:
    """Makes it, once, whoever is called how often; None when it is not waiting. What fails is told in its row."""
    now = vault.clock()
    claimed = ItemExport.objects.filter(pk=pk, state=State.WAITING).update(state=State.RUNNING, started_at=now, holder=process_name())
    if not claimed:
        return None
    one = ItemExport.objects.get(pk=pk)
    try:
        with actors.acting(one.by, reason=one.reason, source=f"item-export:{pk}"):
            _make(vault, one)
    except (BackupError, StoreError, BadManifest, OSError) as problem:
        _give_up(one, str(problem), vault.clock())
    except BaseException as problem:
        _give_up(one, f"{type(problem).__name__}: {problem}", vault.clock())
        raise
    return one


def _make(vault: Vault, one: ItemExport) -> None:
    customer, protected = Customer.objects.get(pk=one.stream_id), registry.by_label(one.model)
    found = item(one.stream_id, protected, one.key) if protected else None
    if protected is None or found is None:
        raise NotAsked("This item is in no history any more. 'manage.py find --in-sets' looks for it in the sets.")
    folder = folder_of(one)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    report = _restored(vault, customer, folder / "item", Only(found.model, found.reference), _telling(one))
    _choose(folder / "item", one, protected)
    size = _zipped(folder)
    export = Export.objects.filter(customer=customer, path=str(folder / "item")).latest("made_at")
    export.path, export.expires_at = str(folder / ZIP), vault.clock() + KEPT
    export.save(update_fields=["path", "expires_at"])
    one.state, one.ended_at, one.expires_at, one.size, one.export = State.READY, vault.clock(), export.expires_at, size, export
    one.notes = "\n".join(report.notes + [f"The bytes of {name} are in no backup" for name in report.absent])
    one.progress = ""
    one.save()


def _restored(vault: Vault, customer: Customer, folder: Path, only: Only, tell: Callable[[str], None]) -> Report:
    reason = actors.current().reason
    try:
        return restore(vault, customer, folder, only=only, at=At(None), reason=reason, progress=tell)
    except (NotCovered, Gap) as problem:
        report = restore(vault, customer, folder, only=only, reason=reason, progress=tell)
        report.notes.append(f"As the newest set has it, for no newer second is covered: {problem}")
        return report


def _telling(one: ItemExport) -> Callable[[str], None]:
    told_at = 0.0

    def tell(line: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= TOLD_EVERY:
            told_at = time.monotonic()
            ItemExport.objects.filter(pk=one.pk).update(progress=line[:200])

    return tell


def _choose(folder: Path, one: ItemExport, protected: Protected) -> None:
    """The chosen version by itself: its row, and the files that it names."""
    row = next((row for row in _rows(folder / "history" / f"{one.model}.ndjson") if row["history_id"] == one.history_id), None)
    if row is None:
        return
    chosen = folder / "chosen version"
    chosen.mkdir(mode=0o700)
    (chosen / "row.json").write_text(json.dumps(row, indent=2, ensure_ascii=False) + "\n")
    for file in protected.files:
        source = folder / "files" / str(row.get(str(file.column)) or "")
        if source.is_file():
            shutil.copyfile(source, chosen / source.name)


def _rows(path: Path) -> Any:
    with path.open(encoding="utf-8", newline="\n") as lines:
        yield from (json.loads(line) for line in lines)


def _zipped(folder: Path) -> int:
    """The folder's content as one zip beside it, which stays alone; returns its size."""
    content, partial = folder / "item", folder / f"{ZIP}.partial"
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(content.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(content))
    partial.rename(folder / ZIP)
    shutil.rmtree(content)
    return (folder / ZIP).stat().st_size


def _give_up(one: ItemExport, trouble: str, now: datetime) -> None:
    """Nothing of it stays, and its row says why."""
    shutil.rmtree(folder_of(one), ignore_errors=True)
    Export.objects.filter(customer=one.stream_id, path=str(folder_of(one) / "item"), removed_at=None).update(removed_at=now)
    ItemExport.objects.filter(pk=one.pk).update(state=State.FAILED, trouble=trouble[:500], ended_at=now, progress="")


def recover(now: datetime) -> None:
    """Ends what a killed worker left, and queues again what the queue has lost: every minute."""
    for one in ItemExport.objects.filter(state=State.RUNNING):
        if holder_is_gone(one.holder):
            _give_up(one, "The worker ended while it was at it. Ask for it again.", now)
    for one in ItemExport.objects.filter(state=State.WAITING, asked_at__lt=now - QUEUED_AGAIN_AFTER):
        queueing.queue_item_export(one.pk)


def expire(now: datetime) -> None:
    """Removes what has been there for its time. What cannot be removed now is tried again by the next look."""
    for one in ItemExport.objects.filter(state=State.READY, expires_at__lte=now).select_related("export"):
        shutil.rmtree(folder_of(one), ignore_errors=True)
        if folder_of(one).exists():
            continue
        Export.objects.filter(pk=one.export_id or 0).update(removed_at=now)
        ItemExport.objects.filter(pk=one.pk).update(state=State.REMOVED)
