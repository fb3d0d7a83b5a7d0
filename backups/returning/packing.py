"""The package as a bag in a zip, at a place of its own until it was verified (P10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings

from audit.durability import flush
from backups.choosing import opened
from backups.errors import NotReturned
from backups.models import BackupSet
from backups.reading import FoundSet
from backups.returning import beside
from backups.returning.beside import About
from backups.returning.payload import Written, write_payload
from backups.vault import Vault
from subscriptions.bag import BagWriter, Finished
from subscriptions.models import DeletionRequest

Progress = Callable[[str], None]
ZIP = "package.zip"


@dataclass(frozen=True, slots=True)
class Packed:
    """A package that was written, and is not verified yet."""

    path: Path
    about: About
    written: Written
    finished: Finished
    envelope_counts: dict[str, int]
    notes: list[str]


def pack(vault: Vault, request: DeletionRequest, final: BackupSet, number: int, folder: Path, progress: Progress) -> Packed:
    """The request's package `number` from its final set, below `folder`. Raises as `choosing.opened`, and `OSError` (the disk)."""
    made_at = vault.clock()
    with opened(vault, request.stream, set_id=str(final.pk)) as (found, reader):
        about = _about(vault, request, found, number, made_at)
        path = folder / ZIP
        with path.open("xb") as file:
            bag = BagWriter(file, about.folder, made_at)
            written = write_payload(reader, bag, folder, progress)
            finished = bag.finish(about.info, lambda digest: beside.tags(about, written.counts, vault.signer, digest))
        flush(path)
        return Packed(path, about, written, finished, dict(found.envelope["counts"]), list(reader.notes))


def _about(vault: Vault, request: DeletionRequest, found: FoundSet, number: int, made_at: datetime) -> About:
    customer = request.customer
    if found.journal is None:
        raise NotReturned("The final set says nothing of the customer's journal: it was made by an older version. Make a new one.")
    return About(
        customer=str(customer.pk),
        code=customer.code,
        name=customer.name,
        request=request.pk,
        number=number,
        set_id=found.id,
        snapshot_at=found.envelope["snapshot_at"],
        journal={"number": found.mark["number"], "digest": found.mark["digest"]},
        made_at=made_at,
        software=vault.software_version,
        sample=settings.L2L_SAMPLE,
    )
