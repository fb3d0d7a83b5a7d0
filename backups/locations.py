"""The locations: named in the environment, prepared once, opened with a look at their format file (design section 5)."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from audit.signing import BadSignature, Signer, verify
from backups.errors import BackupError
from backups.models import Location
from backups.stores.contract import Missing, Store, StoreError, StoreRefused, StoreUnavailable
from backups.stores.urls import Credentials, open_store

FORMAT_FILE = "format-v1.json"
README_FILE = "README-v1.txt"

# As the variables with its credentials are called by it, and its column holds it.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_FOLDERS = ("customers/", "system/", "keys/", "hot/", "ended/")


@dataclass(frozen=True, slots=True)
class Place:
    """A location and the store that opens it."""

    location: Location
    store: Store

    @property
    def name(self) -> str:
        return self.location.name

    @property
    def near(self) -> bool:
        """Whether it is a folder: no network to wait for."""
        return self.store.url.startswith("file:")


@dataclass(frozen=True, slots=True)
class Named:
    """A location as the environment names it."""

    name: str
    url: str
    offsite: bool


def named_locations(text: str, offsite: Iterable[str]) -> list[Named]:
    """The locations in `L2L_LOCATIONS` (name=url, separated by white space); `BackupError` says what is wrong with it."""
    found = []
    for word in text.split():
        name, equals, url = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise BackupError(f"L2L_LOCATIONS: {word!r} is not of the form name=url, with a name of up to 40 letters, digits and '_'.")
        found.append(Named(name, url, name in set(offsite)))
    if not found:
        raise BackupError("L2L_LOCATIONS names no location. Write it like primary=file:///srv/l2l.")
    if len({one.name.upper() for one in found}) != len(found):
        raise BackupError("L2L_LOCATIONS names a location twice (large and small letters are one).")
    if len({one.url.rstrip("/") for one in found}) != len(found):
        raise BackupError("L2L_LOCATIONS has one address under two names: that would be one copy that counts as two.")
    return found


def credentials_of(name: str, environment: Mapping[str, str] = os.environ) -> Credentials | None:
    """The location's credentials from the environment, directly or from files named with `_FILE`; None where there are none."""
    values = [_secret(environment, f"L2L_LOCATION_{name.upper()}_{part}") for part in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")]
    return Credentials(*values) if all(values) else None


def _secret(environment: Mapping[str, str], variable: str) -> str:
    path = environment.get(f"{variable}_FILE")
    return Path(path).read_text().strip() if path else environment.get(variable, "")


def sync_locations(named: list[Named]) -> list[Location]:
    """The rows for the locations in force, in their order. A location that is no longer named keeps its row and is used no more."""
    rows = []
    for position, one in enumerate(named):
        row, _ = Location.objects.get_or_create(name=one.name, defaults={"url": one.url, "offsite": one.offsite, "position": position})
        if (row.url, row.offsite, row.position, row.in_force) != (one.url, one.offsite, position, True):
            row.url, row.offsite, row.position, row.in_force = one.url, one.offsite, position, True
            row.save()
        rows.append(row)
    Location.objects.exclude(pk__in=[row.pk for row in rows]).filter(in_force=True).update(in_force=False)
    return rows


def open_places(named: list[Named], environment: Mapping[str, str] = os.environ) -> list[Place]:
    """Every named location with its store; nothing is asked of the stores yet."""
    rows = sync_locations(named)
    return [
        Place(row, open_store(one.url, credentials=credentials_of(one.name, environment))) for row, one in zip(rows, named, strict=True)
    ]


def prepare(store: Store, signer: Signer, readme: str, *, made: str, sample: bool) -> None:
    """Writes the format file and the README to a new location; a prepared one is checked. Raises as `check_prepared` and the store do."""
    try:
        check_prepared(store, signer.fingerprint)
    except Missing:
        if any(next(iter(store.list(folder)), None) for folder in _FOLDERS):
            raise StoreRefused(f"{store.url} holds backups but no {FORMAT_FILE}. Find out whose they are before using it.") from None
        document = signer.sign({"format": 1, "made": made, "sample": sample})
        store.put(FORMAT_FILE, (json.dumps(document, indent=2) + "\n").encode())
        check_prepared(store, signer.fingerprint)
    if not store.exists(README_FILE):
        store.put(README_FILE, readme.encode())


def check_prepared(store: Store, fingerprint: str) -> None:
    """`Missing` when the location was never prepared (or is not mounted), `StoreRefused` when it is another installation's, or damaged."""
    try:
        signed_by = _signed_by(store.get(FORMAT_FILE), fingerprint)
    except (ValueError, KeyError, TypeError, BadSignature) as problem:
        raise StoreRefused(f"{store.url} has a damaged {FORMAT_FILE} ({problem}). Put it back from another location.") from None
    if signed_by != fingerprint:
        raise StoreRefused(f"{store.url} belongs to another installation (signed by {signed_by:.16}…, ours is {fingerprint:.16}…).")


@lru_cache(maxsize=64)
def _signed_by(format_file: bytes, fingerprint: str) -> str:
    """Whose it is; verified where it is ours. Every backup reads it, so the same bytes are verified once."""
    document = json.loads(format_file)
    signed_by = str(document["signed_by"]["fingerprint"])
    if signed_by == fingerprint:
        verify(document, fingerprint)
    return signed_by


def trouble_of(store: Store, fingerprint: str) -> StoreError | None:
    """Why the location cannot be used now; None when it can."""
    try:
        check_prepared(store, fingerprint)
    except Missing:
        return StoreUnavailable(f"{store.url} has no {FORMAT_FILE}: not mounted, or never prepared. Mount it, or run 'manage.py init'.")
    except StoreError as problem:
        return problem
    return None
