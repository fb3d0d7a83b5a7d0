"""The package for the customer's own key (age, X25519): streamed, and opened again by us before the plain one goes (P10)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyrage
from pyrage.x25519 import Identity, Recipient

from audit.durability import flush
from backups.errors import NotReturned
from backups.models import ReturnWork
from subscriptions.ending.moving import check_person
from subscriptions.ending.states import Move, State
from subscriptions.models import DeletionRequest

SUFFIX = ".age"


def choose(request: DeletionRequest, recipient: str, *, by: Any) -> ReturnWork:
    """The next package is sealed for that age recipient (`age1...`), or for nobody when it is empty. Raises `NotReturned` and
    `MoveRefused`."""
    check_person(request.customer_id, by, Move.RETURN)
    recipient = recipient.strip()
    if recipient:
        recipient_of(recipient)
    row, _ = ReturnWork.objects.get_or_create(request=request)
    request.refresh_from_db()
    if request.state not in (State.REQUESTED, State.RETURNING, State.RETURNED) or row.state == ReturnWork.State.RUNNING:
        raise NotReturned("The package is made already, or just now. A reported fault makes room for another one.")
    row.encrypt_to = recipient
    row.save(update_fields=["encrypt_to"])
    return row


def recipient_of(text: str) -> Recipient:
    """Raises `NotReturned` for what is no X25519 recipient."""
    try:
        return Recipient.from_str(text)
    except (pyrage.RecipientError, ValueError) as problem:
        raise NotReturned(f"This is no age recipient (age1...): {problem}. The customer makes one with 'age-keygen'.") from None


def encrypt(plain: Path, sha256: str, recipient: str) -> Path:
    """`plain`, of that digest, as a new file beside it, in bounded memory; `plain` is gone then. It is sealed for the customer and for a
    key that only this call knows, by which it is opened again and compared. Raises `NotReturned`."""
    ours, sealed = Identity.generate(), plain.with_name(plain.name + SUFFIX)
    with plain.open("rb") as source, sealed.open("xb") as target:
        pyrage.encrypt_io(source, target, [recipient_of(recipient), ours.to_public()])
    flush(sealed)
    opened = _Digest()
    with sealed.open("rb") as source:
        pyrage.decrypt_io(source, opened, [ours])
    if opened.sha256.hexdigest() != sha256:
        raise NotReturned("The sealed package does not open to what was sealed. It was thrown away and is made again by itself.")
    plain.unlink()
    return sealed


class _Digest:
    """Where opened bytes go: into a digest."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""
