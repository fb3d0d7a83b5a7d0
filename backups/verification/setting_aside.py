"""Wrong bytes are set aside before the right ones take their place: whoever looks for the cause finds them, and nothing is lost by mending.

They are ciphertext still, so they lie in the customer's own folder (`damaged/` there), as objects with rows that no set and no writer takes
for content; they go after 30 days, or as soon as the object for which they stood goes. What is everybody's lies in `hot/damaged/`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta

from backups import catalogue, leases, removing
from backups.errors import Busy
from backups.leases import Held, fenced
from backups.locations import Place
from backups.manifest import stream_folder
from backups.models import Blob, Copy, Damage
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import MAX_OBJECT_BYTES, StoreError
from backups.vault import Vault

KEPT = timedelta(days=30)
HOT_FOLDER = "hot/damaged/"


def keep(place: Place, damage: Damage, bad: bytes, lease: Held, now: datetime) -> None:
    """Stores what stands there now, beside it, and says where. Raises what the store does: then nothing is put over it."""
    bad = bad[:MAX_OBJECT_BYTES]
    if not bad:
        return
    sha256 = sha256_of(bad)
    name = f"{stream_folder(str(damage.stream_id))}damaged/{place.name}-{sha256[:40]}"
    blob = Blob.objects.filter(name=name).first() or _intended(place, damage, name, bad, sha256, lease)
    put_and_read_back(place.store, name, bad, sha256)
    catalogue.mark_present(lease, place, [blob.pk], now)
    damage.aside, damage.aside_blob, damage.aside_until = name, blob, now + KEPT
    with fenced(lease):
        damage.save(update_fields=["aside", "aside_blob", "aside_until"])


def _intended(place: Place, damage: Damage, name: str, bad: bytes, sha256: str, lease: Held) -> Blob:
    with fenced(lease):
        blob = Blob.objects.create(stream_id=damage.stream_id, kind=Blob.Kind.ASIDE, name=name, sha256=sha256, size=len(bad))
        Copy.objects.create(blob=blob, location=place.location)
    return blob


def keep_hot(place: Place, damage: Damage, bad: bytes, now: datetime) -> None:
    """The same for what is everybody's; under the lease of the removal of segments."""
    bad = bad[:MAX_OBJECT_BYTES]
    if not bad:
        return
    sha256 = sha256_of(bad)
    name = f"{HOT_FOLDER}{place.name}-{sha256[:16]}-{damage.name.rpartition('/')[2]}"
    put_and_read_back(place.store, name, bad, sha256)
    damage.aside, damage.aside_until = name, now + KEPT
    damage.save(update_fields=["aside", "aside_until"])


def expire(vault: Vault, places: Iterable[Place], now: datetime) -> tuple[int, list[str]]:
    """What was set aside long enough goes; how many, and what could not go yet and why. Where credentials that delete are."""
    by_name = {place.name: place for place in places}
    gone, left = 0, []
    hot = Damage.objects.filter(aside_until__lt=now, aside_blob=None).exclude(aside="").select_related("location")
    for damage in hot:
        place = by_name.get(damage.location.name)
        if place is None:
            continue
        try:
            place.store.remove(damage.aside)
        except StoreError as problem:
            left.append(f"{damage.aside} at {place.name}: {problem}")
            continue
        Damage.objects.filter(pk=damage.pk).update(aside="", aside_until=None)
        gone += 1
    over = Damage.objects.filter(aside_until__lt=now, aside_blob__isnull=False)
    for stream in set(over.values_list("stream", flat=True)):
        try:
            gone += _expire_of(vault, list(by_name.values()), stream, now, left)
        except Busy as busy:
            left.append(str(busy))
    return gone, left


def _expire_of(vault: Vault, places: list[Place], stream: uuid.UUID, now: datetime, left: list[str]) -> int:
    with leases.holding(leases.lease_name(stream), doing="prune", clock=vault.clock) as lease:
        with fenced(lease):
            over = Damage.objects.filter(stream=stream, aside_until__lt=now, aside_blob__isnull=False)
            still = set(Damage.objects.filter(stream=stream, aside_until__gte=now).values_list("aside_blob", flat=True))
            blobs = set(over.values_list("aside_blob", flat=True)) - still
            Blob.objects.filter(pk__in=blobs).update(state=Blob.State.CONDEMNED)
        removal = removing.remove_condemned(places, stream, lease)
        gone = Damage.objects.filter(stream=stream, aside_blob=None, aside__startswith=stream_folder(str(stream)))
        gone.update(aside="", aside_until=None)
    left += removal.left
    return removal.objects
