"""`ended/<customer-id>.json`: that the customer was destroyed, signed, without content (docs/format.md).

Recover, restores, backups, key making and the shipper obey it; verification learns it and puts it back. The same bytes at every location,
whenever they are made.
"""

from __future__ import annotations

import json
from datetime import UTC

from audit.signing import BadSignature, verify
from backups.errors import NotDestroyed
from backups.locations import Place
from backups.placing import put_and_read_back, sha256_of
from backups.stores.contract import Missing
from backups.vault import Vault
from subscriptions.models import DeletionRequest

FORMAT = 1


def name_of(request: DeletionRequest) -> str:
    return f"ended/{request.stream}.json"


def signed(vault: Vault, request: DeletionRequest) -> bytes:
    """The marker of a destruction that has begun."""
    assert request.begun_at is not None
    document = {
        "format": FORMAT,
        "kind": "ended",
        "stream": str(request.stream),
        "at": request.begun_at.astimezone(UTC).isoformat(),
        "request": request.pk,
        "plan": request.plan_digest,
    }
    return json.dumps(vault.signer.sign(document), sort_keys=True, separators=(",", ":")).encode() + b"\n"


def put(vault: Vault, place: Place, request: DeletionRequest) -> None:
    """After it the place holds the marker, read back. One of ours that stands there already stays as it is; one that we did not sign is
    `NotDestroyed`. Raises what the store raises."""
    try:
        there = place.store.get(name_of(request))
    except Missing:
        data = signed(vault, request)
        put_and_read_back(place.store, name_of(request), data, sha256_of(data))
        return
    if not _is_ours(there, vault.fingerprint, request):
        raise NotDestroyed(
            f"{place.name} holds {name_of(request)}, and this installation did not sign it. Find out who did, and remove it there by hand."
        )


def _is_ours(data: bytes, trusted: str, request: DeletionRequest) -> bool:
    try:
        document = verify(json.loads(data), trusted)
    except (BadSignature, ValueError, KeyError, TypeError):
        return False
    return document.get("kind") == "ended" and document.get("stream") == str(request.stream)
