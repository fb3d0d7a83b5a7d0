"""A customer gets a key that nobody has seen: what helps after a theft, for what comes from now on (design section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import audit
from audit import actors
from audit.events import Event, record
from audit.models import Stream
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups import catalogue, catching_up, leases, leftovers
from backups.customerkeys import make_key
from backups.errors import NoLocation
from backups.keys.requests import KeyChangeRefused
from backups.keys.retired import OPERATES
from backups.models import BackupSet
from backups.vault import Vault
from subscriptions.models import Customer


@dataclass(frozen=True, slots=True)
class Renewed:
    """`number` is used by the next set, and by segments within ten minutes. `older_sets` stay under earlier keys; by what is decided now
    the last of them goes at `until` (None: there is none), or later, when one is chosen for its week or month, or held. `owed` are
    locations that lack the key."""

    number: int
    older_sets: int
    until: datetime | None
    owed: list[str]


def renew(vault: Vault, stream: Stream, *, by: Any, why: str) -> Renewed:
    """The stream's next key, at every location that answers. Raises `ApprovalRefused`, `KeyChangeRefused`, `Busy`, `NoLocation`,
    `StreamEnded`."""
    if not by.has_perm(OPERATES) or not _sees(by, stream):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not do this: it needs the right {OPERATES}, and to see the customer.")
    if not why.strip():
        raise KeyChangeRefused("Say why.")
    places, troubles = vault.usable()
    with (
        audit.acting(actors.of_user(by, reason=why)),
        leases.holding(leases.lease_name(stream.pk), doing="keys", clock=vault.clock) as lease,
    ):
        shelves = catching_up.look(places, stream.pk)
        if not shelves.places:
            raise NoLocation("No location can be used: " + "; ".join(f"{name}: {trouble}" for name, trouble in troubles.items()))
        leftovers.adopt(vault, shelves, stream.pk, lease)
        found = catalogue.inventory(stream.pk, shelves.places, vault.clock())
        key, placed = make_key(vault, shelves, stream.pk, lease, found)
        with leases.fenced(lease):
            catalogue.mark_placed(lease, placed, vault.clock())
            facts = {"number": key.number, "wrapping": vault.keys.now().wrapping}
            customer = stream.pk if stream.pk.int else None
            record(Event.KEY_RENEWED, subject=stream, customer=customer, facts=facts)
    there = {place.name for place, _ in placed}
    older = BackupSet.objects.filter(stream=stream, state=BackupSet.State.MADE, key_number__lt=key.number)
    until = max((one for one in older.values_list("goes_at", flat=True) if one), default=None)
    return Renewed(key.number, older.count(), until, sorted(one.name for one in shelves.in_force if one.name not in there))


def _sees(by: Any, stream: Stream) -> bool:
    if not stream.pk.int:
        return bool(by.has_perm("l2l_subscriptions.view_all_customers"))
    return Customer.objects.visible_to(by).filter(pk=stream.pk).exists()
