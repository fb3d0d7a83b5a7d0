"""A customer's data leaves: an `Export` row and an event, in one transaction with the leaving itself (design section 8)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

from django.db import transaction

from audit import access, actors, events
from audit.events import Event
from audit.models import Stream
from audit.moments import in_utc_to_the_second
from backups.choosing import UnknownCustomer
from backups.errors import PurgedMeanwhile
from backups.models import Purge
from backups.reading import FoundSet, Moment
from backups.vault import Vault
from subscriptions.models import Customer, Export

EXPORT_KEPT = timedelta(days=30)
UNRECORDED = "This is no customer of this database: the restore stands in the evidence trail, not in a list of exports"


def origin(found: FoundSet, moment: Moment | None) -> str:
    """Where an export's content comes from, as its row says it."""
    return f"as of {in_utc_to_the_second(moment.at)}" if moment else f"from the set of {found.envelope['night']}"


def hand_over(
    vault: Vault,
    customer: Customer | UnknownCustomer,
    release: Callable[[], None],
    *,
    what: str,
    path: str,
    sha256: str,
    reason: str,
    set_id: str,
    purges: int,
    **counts: int,
) -> None:
    """Records the export and calls `release`, which lets the data go: nothing leaves unrecorded, nothing is recorded that stayed. Raises
    `PurgedMeanwhile` when there are other purges of the customer than the `purges` that were counted before anything was read."""
    facts: dict[str, str | int] = {"sha256": sha256, "set": set_id, **counts}
    with transaction.atomic():
        refuse_purged_since(purges, customer.pk)
        if isinstance(customer, UnknownCustomer):
            events.record(Event.EXPORTED, subject=f"set:{set_id}", customer=customer.pk, facts=facts)
        else:
            export = _export(vault, customer, what=what, path=path, sha256=sha256, reason=reason)
            access.exported(export, customer=customer.pk, **facts)
        release()


def purges_of(stream: uuid.UUID) -> int:
    """How many there are by now."""
    return Purge.objects.filter(customer=stream).count()


def refuse_purged_since(purges: int, stream: uuid.UUID) -> None:
    """With the stream's row: a purge under way is waited for, a later one finds the export gone already."""
    Stream.objects.select_for_update(no_key=True).filter(pk=stream).first()
    if purges_of(stream) != purges:
        raise PurgedMeanwhile(
            "Content of this customer was purged while the backup was read. Nothing was handed over: run it again, and it is left out."
        )


def _export(vault: Vault, customer: Customer, **about: str) -> Export:
    now = vault.clock()
    return Export.objects.create(customer=customer, by=actors.current().name, made_at=now, expires_at=now + EXPORT_KEPT, **about)
