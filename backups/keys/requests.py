"""Asking for another recipient or another master, and deciding on it: two people, for it can expose everything or lose it (P5)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyrage
from pyrage.x25519 import Recipient

from audit import two_person
from audit.states import State
from backups.errors import BackupError
from backups.keyfiles import NAME
from backups.keys import recorded
from backups.models import KeyChangeRequest

OPEN = (State.REQUESTED.value, State.APPROVED.value)
Deed = KeyChangeRequest.Deed

# What no rotation undoes; the second person reads it before deciding, and `keys list` says it.
NOT_UNDONE = (
    "Wrapping anew does not undo what was copied. Whoever had a former master key and a copy of a key wrapped for it (a lost or copied "
    "location is enough), or a customer's opened key, can go on opening everything that was or will be sealed under that customer's key.",
    "What helps from now on: 'manage.py keys renew-stream CUSTOMER' gives a customer the next key, which nobody has seen; the next set and "
    "section are sealed under it. Older sets stay under the old key until retention lets them go; the command says until when.",
)


class KeyChangeRefused(BackupError):
    """The change of keys cannot be made as asked; the message says why. Nothing was changed."""


def plan_of(asked: KeyChangeRequest) -> dict[str, Any]:
    """What the change would do to the ring in force, as JSON: another ring is another plan."""
    return _plan(asked.deed, asked.name, asked.recipient)


def _plan(deed: str, name: str, recipient: str) -> dict[str, Any]:
    ring = recorded.newest()
    return {
        "deed": deed,
        "after_wrapping": ring.wrapping,
        "recipients": [list(one) for one in after(recorded.recipients_of(ring), deed, name, recipient)],
    }


def after(recipients: tuple[tuple[str, str], ...], deed: str, name: str, recipient: str) -> tuple[tuple[str, str], ...]:
    """The recipients beside the online master once the deed is done. Raises `KeyChangeRefused`."""
    if deed == Deed.ADD:
        return (*recipients, (name, _public(name, recipient, recipients)))
    if deed == Deed.REMOVE:
        left = tuple(one for one in recipients if one[0] != name)
        if len(left) == len(recipients):
            raise KeyChangeRefused(f"There is no recipient {name!r}; there are {', '.join(one for one, _ in recipients)}.")
        if not left:
            raise KeyChangeRefused("That is the last one beside the online master: without it, losing this machine loses everything.")
        return left
    return recipients


def _public(name: str, recipient: str, recipients: tuple[tuple[str, str], ...]) -> str:
    if not NAME.fullmatch(name) or name == "online":
        raise KeyChangeRefused("A recipient's name is one word of small letters, digits and '-', up to 40, and not 'online'.")
    if recipient.strip().upper().startswith("AGE-SECRET-KEY"):
        raise KeyChangeRefused("That is a secret key: it must never be given here. Give its public half (age1…), and treat it as seen.")
    try:
        public = str(Recipient.from_str(recipient.strip()))
    except pyrage.RecipientError:
        raise KeyChangeRefused("That is no public half of an age key (age1…): 'age-keygen -y FILE' prints it.") from None
    taken = [known for known, half in recipients if known == name or half == public]
    if taken:
        raise KeyChangeRefused(f"{taken[0]} has that name or that key already.")
    return public


def ask(deed: str, *, by: Any, why: str, now: datetime, name: str = "", recipient: str = "") -> KeyChangeRequest:
    """The new request. Raises `ApprovalRefused`, and `KeyChangeRefused` for what cannot be, or while another one is open."""
    if other := KeyChangeRequest.objects.filter(state__in=OPEN).first():
        raise KeyChangeRefused(f"Request {other.pk} ({other.what}) is {other.state}: it must be over before there is another one.")
    plan = _plan(deed, name, recipient)
    public = plan["recipients"][-1][1] if deed == Deed.ADD else ""
    what = {
        Deed.ADD: f"add the recipient {name} ({public})",
        Deed.REMOVE: f"remove the recipient {name}",
        Deed.ROTATE: "rotate the online master key",
        Deed.REPLACE: "replace the online master key, which was lost",
    }[Deed(deed)]
    columns = {"deed": deed, "name": name, "recipient": public}
    return two_person.request(KeyChangeRequest, by=by, what=what, why=why, plan=plan, now=now, **columns)


def approve(asked: KeyChangeRequest, *, by: Any, password: str, now: datetime) -> KeyChangeRequest:
    """Approved: it is carried out where the key files are (`switching.carry_out`). Raises what `two_person.approve` raises."""
    return two_person.approve(asked, by=by, password=password, plan=plan_of(asked), now=now)


def approved() -> KeyChangeRequest | None:
    """The one that waits to be carried out."""
    return KeyChangeRequest.objects.filter(state=State.APPROVED.value).order_by("pk").first()
