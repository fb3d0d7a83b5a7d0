"""What proves one backup set: its signed envelope as it lies at a location, where its copies are, how it was tested (P1, P3, P4, P7)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from audit import canonical
from backups import vault as vaults
from backups.models import BackupSet, Blob, TestRestore
from backups.stores.contract import StoreError

MOST_TESTS = 20


def of_set(backup_set: BackupSet) -> dict[str, bytes]:
    """Files of evidence by name. Where no location gives the envelope, `set-envelope.txt` says why."""
    blob = Blob.objects.filter(made_by=backup_set.pk, kind=Blob.Kind.ENVELOPE).order_by("-pk").first()
    found = {} if blob is None else {"copies.json": as_lines(_copies(blob)), **_envelope(blob)}
    if blob is None:
        found["set-envelope.txt"] = _no_envelope(backup_set)
    tests = TestRestore.objects.filter(set_id=backup_set.pk).order_by("pk")[:MOST_TESTS]
    return {**found, **{f"test-restore-{one.pk}.json": as_lines(one.document) for one in tests}}


def _no_envelope(backup_set: BackupSet) -> bytes:
    gone = f"It was removed on {backup_set.removed_at:%Y-%m-%d}." if backup_set.removed_at else f"The set is {backup_set.state}."
    return f"This set has no stored envelope any more. {gone}\n".encode()


def _copies(blob: Blob) -> dict[str, Any]:
    copies = blob.copies.select_related("location").order_by("location__position")
    return {
        "envelope": blob.name,
        "sha256": blob.sha256,
        "size": blob.size,
        "copies": [
            {
                "location": one.location.name,
                "offsite": one.location.offsite,
                "state": one.state,
                "read_back_at": one.checked_at.isoformat() if one.checked_at else None,
            }
            for one in copies
        ],
    }


def _envelope(blob: Blob) -> dict[str, bytes]:
    troubles = []
    for place in vaults.from_settings().places:
        try:
            data = place.store.get(blob.name)
        except StoreError as problem:
            troubles.append(f"{place.name}: {problem}")
            continue
        if hashlib.sha256(data).hexdigest() == blob.sha256:
            return {"set-envelope.json": data}
        troubles.append(f"{place.name}: other bytes than were stored")
    return {"set-envelope.txt": ("No location gave the envelope when this pack was made.\n" + "\n".join(troubles) + "\n").encode()}


def as_lines(document: Any) -> bytes:
    """Canonical where it can be, so that a signature inside still fits."""
    try:
        return (canonical.dumps(document) + "\n").encode()
    except canonical.NotCanonical:
        return (json.dumps(document, sort_keys=True) + "\n").encode()
