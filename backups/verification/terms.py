"""How often a location is read again, and how much of it a night: changed by a person, with a reason (P4)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import transaction

import audit
from audit import actors
from audit.events import Event, record
from backups.errors import BackupError
from backups.models import Location

CHANGES = "l2l_backups.change_location"
MIB = 1024 * 1024
MOST_DAYS = 365


def change(
    location: Location, *, recheck_days: int, nightly_bytes: int | None, read_price: Decimal | None, by: Any, reason: str
) -> Location:
    """The location with its new period (days), limit (bytes a night, None for as much as the period asks for) and price (of a GiB, None
    for nothing). Raises `BackupError` without the right, a reason, or sense. The next night's pass goes by it."""
    if not by.has_perm(CHANGES):
        raise BackupError(f"{by} may not change how locations are verified: it needs the right {CHANGES}.")
    if not reason.strip():
        raise BackupError("Say why.")
    _refuse_senseless(recheck_days, nightly_bytes, read_price)
    with transaction.atomic(), audit.acting(actors.of_user(by, reason=reason, source="verification")):
        stored = Location.objects.select_for_update().get(pk=location.pk)
        stored.recheck_days, stored.nightly_bytes, stored.read_price = recheck_days, nightly_bytes, read_price
        stored.terms_by, stored.terms_reason = by.get_username()[:150], reason[:500]
        stored.save(update_fields=["recheck_days", "nightly_bytes", "read_price", "terms_by", "terms_reason"])
        price = str(read_price) if read_price is not None else None
        facts = {"location": stored.name, "days": recheck_days, "bytes": nightly_bytes, "price": price}
        record(Event.LOCATION_CHANGED, subject=stored, facts=facts)
    return stored


def _refuse_senseless(recheck_days: int, nightly_bytes: int | None, read_price: Decimal | None) -> None:
    if not 1 <= recheck_days <= MOST_DAYS:
        raise BackupError(f"A period is of 1 to {MOST_DAYS} days: promised is 30.")
    if nightly_bytes is not None and nightly_bytes < MIB:
        raise BackupError("Allow at least 1 MiB a night, or leave it empty: then as much is read as the period asks for.")
    if read_price is not None and read_price < 0:
        raise BackupError("A price is not below nothing.")
