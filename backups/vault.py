"""Everything that a verb of this app works with: locations, keys, clock. Given as an argument, so that a simulation can give its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

from django.conf import settings

from audit import clock as clocks
from audit.signing import Signer
from backups import keyfiles, locations, policies
from backups.errors import NoLocation
from backups.keyfiles import KeyRing
from backups.locations import Place
from backups.models import BackupPolicy
from backups.policy import Policy, in_force

UTC = ZoneInfo("UTC")
SEEN_TO = timedelta(minutes=1)


@dataclass(frozen=True)
class Vault:
    """`places` in the order of preference for reading; `spool` a folder on a local disk; `zone` cuts the nights."""

    places: tuple[Place, ...]
    keys: KeyRing
    signer: Signer
    spool: Path
    clock: Callable[[], datetime] = clocks.now
    zone: ZoneInfo = UTC
    software_version: str = ""
    _policies: dict[int, Policy] = field(default_factory=dict, init=False, repr=False, compare=False)

    def policy(self, number: int) -> Policy:
        """The policy's version of that number, which never changes: read once."""
        if number not in self._policies:
            self._policies[number] = BackupPolicy.objects.get(number=number).pure
        return self._policies[number]

    def in_force(self, now: datetime) -> Policy | None:
        """The version of the policy that is in force; the versions are read once. None before there is one."""
        return in_force(self._versions, now) if self._versions else None

    @cached_property
    def _versions(self) -> list[Policy]:
        return policies.versions()

    @cached_property
    def fingerprint(self) -> str:
        return self.signer.fingerprint

    def only(self, name: str | None) -> Vault:
        """The same vault with one location alone; with all of them for None. `NoLocation` when there is none of that name."""
        if name is None:
            return self
        chosen = tuple(place for place in self.places if place.name == name)
        if not chosen:
            raise NoLocation(f"There is no location {name!r}; there are: {', '.join(place.name for place in self.places)}.")
        return replace(self, places=chosen)

    def usable(self) -> tuple[tuple[Place, ...], dict[str, str]]:
        """The places that can be used now, and for each of the others why not. What was found is noted with the locations."""
        troubles = {place.name: trouble for place in self.places if (trouble := locations.trouble_of(place.store, self.fingerprint))}
        for place in self.places:
            note(place, str(troubles.get(place.name, "")), self.clock())
        return tuple(place for place in self.places if place.name not in troubles), {name: str(why) for name, why in troubles.items()}


def clock() -> datetime:
    """Now, for whatever is decided about nights and runs."""
    return clocks.now()


def note(place: Place, trouble: str, now: datetime) -> None:
    """Keeps what was last seen of a location where people look for it; to the minute, for every backup looks."""
    seen, trouble = place.location.last_seen_at, trouble[:500]
    if trouble == place.location.trouble and (trouble or (seen is not None and abs(now - seen) < SEEN_TO)):
        return
    place.location.trouble = trouble
    if not trouble:
        place.location.last_seen_at = now
    place.location.save()


def from_settings() -> Vault:
    """The vault of this installation. Raises `KeysMissing`, `BackupError` (settings) and what `open_store` raises."""
    named = locations.named_locations(settings.L2L_LOCATIONS, settings.L2L_OFFSITE)
    return Vault(
        places=tuple(locations.open_places(named)),
        keys=keyfiles.key_ring(settings.L2L_KEYS),
        signer=keyfiles.signer(settings.L2L_KEYS),
        spool=settings.L2L_SPOOL,
        zone=policies.zone_at(clock()),
        software_version=settings.SOFTWARE_VERSION,
    )
