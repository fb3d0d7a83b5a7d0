"""The customer's sections leave the hot folder (design section 6): by the removal that also lets go what sets cover, so that others lose
nothing. What no row of this database knows goes by name, where the customer is alone in it."""

from __future__ import annotations

import uuid
from datetime import datetime

from backups.destroy import hot_objects
from backups.destroy.hot_objects import HotObject
from backups.errors import NoLocation, NotDestroyed
from backups.hot import removal
from backups.leases import Held
from backups.locations import Place
from backups.models import Damage, ServiceObject
from backups.vault import Vault


def remove(vault: Vault, stream: uuid.UUID, lease: Held, now: datetime) -> tuple[int, int]:
    """How many objects went that had a section of it, and their bytes at all locations. Raises what `removal.remove_covered` raises, and
    `NotDestroyed` where a segment of another timeline has others' sections too: nobody knows who needs these."""
    places, troubles = vault.usable()
    if troubles:
        raise NoLocation("Every location must answer: " + "; ".join(f"{name}: {why}" for name, why in troubles.items()))
    before = {place.name: of_place(vault, place, stream, lease) for place in places}
    if any(one.known for found in before.values() for one in found):
        lease.keep()
        removal.remove_covered(vault, now)
        lease.keep()
        removal.keep_without_ended(vault)
        lease.keep()
    for place in places:
        for one in of_place(vault, place, stream, lease):
            _remove_stray(place, one, lease)
    everything = [one for found in before.values() for one in found]
    return len(everything), sum(one.size for one in everything)


def of_place(vault: Vault, place: Place, stream: uuid.UUID, lease: Held, *, read_all: bool = False) -> list[HotObject]:
    """Without what was set aside, which is a step of its own."""
    found = hot_objects.of_stream(place, stream, vault.fingerprint, read_all=read_all, keep=lease.keep)
    return [one for one in found if not one.aside]


def _remove_stray(place: Place, one: HotObject, lease: Held) -> None:
    if one.known:
        return  # the next look: some customer's set, or a location, is still waited for
    if one.shared:
        raise NotDestroyed(
            f"{one.name} at {place.name} is of no segment that this database knows, and has sections of others too. Find out whether they "
            "need it (a database that went back in time leaves such); then remove it there by hand."
        )
    lease.keep()
    place.store.remove(one.name)


def left(vault: Vault, stream: uuid.UUID, lease: Held) -> list[str]:
    """What a fresh look still finds, by each one's own index."""
    return [
        f"{one.name} at {place.name} still has a section of it"
        for place in vault.usable()[0]
        for one in of_place(vault, place, stream, lease, read_all=True)
    ]


def remove_aside(vault: Vault, place: Place, stream: uuid.UUID, lease: Held) -> tuple[int, int]:
    """Damaged segments that were set aside there: they served to find the cause, and nobody's data is in them alone."""
    found = [one for one in hot_objects.of_stream(place, stream, vault.fingerprint) if one.aside]
    for one in found:
        lease.keep()
        place.store.remove(one.name)
    names = [one.name for one in found]
    Damage.objects.filter(location=place.location, aside__in=names).update(aside="", aside_until=None)
    ServiceObject.objects.filter(location=place.location, name__in=names).delete()
    return len(found), sum(one.size for one in found)


def aside_left(vault: Vault, place: Place, stream: uuid.UUID) -> list[str]:
    found = hot_objects.of_stream(place, stream, vault.fingerprint)
    return [f"{one.name} is still listed at {place.name}" for one in found if one.aside]
