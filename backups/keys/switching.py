"""Another key ring comes into force: the key files change, and what was approved is recorded with it, or nothing is (design section 5).

`ring.json` is replaced whole, and with it the ring changes for every process. A new master stands on disk before, as `master.next.age`; a
former one stays as `master.retired-<date>-<wrapping>.age`. Killed before the database knows, the next try finds the request's number in the
file and only records it.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pyrage
from django.db import transaction
from pyrage.x25519 import Identity

import audit
from audit import actors, two_person
from audit.durability import flush
from audit.events import Event, record
from audit.states import State, check_transition
from backups import keyfiles, leases
from backups.errors import KeysMissing
from backups.keyfiles import ESCROW, MASTER, RING, RingFile, read_key_file, replace_file, ring_file, write_once
from backups.keynames import key_name
from backups.keys import recorded
from backups.keys.requests import Deed, KeyChangeRefused, plan_of
from backups.models import Blob, KeyChangeRequest, KeyRingVersion
from backups.vault import clock

NEXT = "master.next.age"
LEASE, DOING = "keys", "changing the key ring"


def carry_out(folder: Path, approved: KeyChangeRequest, *, now: datetime, escrow: Identity | None = None) -> KeyRingVersion:
    """The ring that the approved request asks for, in force. `escrow` is a recipient's secret half, which a lost master needs.

    Raises `NotAllowed`, `PlanChanged`, `Busy`, `KeysMissing`, and `KeyChangeRefused` when the identity is not one that opens the keys.
    Nothing was changed then.
    """
    with leases.holding(LEASE, doing=DOING, clock=clock), audit.acting(actors.of_user(approved.requested_by, reason=approved.why)):
        approved = KeyChangeRequest.objects.get(pk=approved.pk)
        check_transition(approved.state, State.EXECUTED)
        plan = plan_of(approved)
        two_person.check_plan(approved, plan, now)
        if approved.deed == Deed.REPLACE:
            holder_of(escrow)
        recipients = tuple((str(name), str(recipient)) for name, recipient in plan["recipients"])
        with transaction.atomic():
            two_person.executed(approved, plan=plan, now=now)
            version = _record(folder, approved, recipients, now)
            switch(folder, approved, version, now)  # last: what fails before leaves the files as they were
    return version


def holder_of(identity: Identity | None) -> str:
    """The name of the recipient whose secret half it is. `KeyChangeRefused` for one that opens nothing here."""
    if identity is None:
        raise KeyChangeRefused(
            "Without the online master key a recipient's secret half is needed: --escrow-file FILE, from the recovery kit."
        )
    ring = recorded.newest()
    for name, recipient in recorded.recipients_of(ring):
        if recipient == str(identity.to_public()):
            return name
    raise KeyChangeRefused(
        "That key opens nothing here: its public half is none of those for whom the keys are wrapped "
        f"({', '.join(ring.names[1:])}). Nothing was changed. Take the key under 'Escrow key' in this installation's own recovery kit."
    )


def _record(folder: Path, approved: KeyChangeRequest, recipients: tuple[tuple[str, str], ...], now: datetime) -> KeyRingVersion:
    """What the ring will be, by the database; the files follow."""
    said = _said(folder, approved)
    if said.request == approved.pk:  # a try that was cut short came as far as the files
        following = said
    else:
        online = _next_master(folder) if approved.deed in (Deed.ROTATE, Deed.REPLACE) else said.online
        following = RingFile(_next_wrapping(said.wrapping), online, recipients, approved.pk)
    people = {"made_by": approved.requested_by.get_username(), "approved_by": approved.approved_by.get_username()}
    version = recorded.record(following, now=now, reason=approved.why, **people)
    facts = {"deed": approved.deed, "wrapping": version.wrapping, "recipients": len(recipients), "approved_by": people["approved_by"]}
    record(Event.KEYS_CHANGED, subject=approved, facts=facts | ({"recipient": approved.name} if approved.name else {}))
    return version


def _said(folder: Path, approved: KeyChangeRequest) -> RingFile:
    """What the key files say, which must be what people decided last. With a lost master the decision counts alone."""
    ring = recorded.newest()
    known = RingFile(ring.wrapping, ring.online, recorded.recipients_of(ring), ring.request)
    try:
        said = ring_file(folder)
    except KeysMissing:
        if approved.deed != Deed.REPLACE:
            raise
        return known
    if said.request == approved.pk or (said.wrapping, said.online, said.recipients) == (known.wrapping, known.online, known.recipients):
        return said
    if approved.deed == Deed.REPLACE:
        return known
    raise KeyChangeRefused(
        f"{folder}/{RING} says wrapping {said.wrapping}, and the newest that people decided is {known.wrapping}, or they name other "
        "recipients. Find out who changed the file; put it back as 'manage.py keys list --json' has it."
    )


def _next_wrapping(said: int) -> int:
    """A number that stands in no name yet."""
    known = KeyRingVersion.objects.order_by("-wrapping").values_list("wrapping", flat=True).first() or 0
    named = (key_name(name).wrapping for name in Blob.objects.filter(kind=Blob.Kind.KEY).values_list("name", flat=True).iterator())
    return max(said, known, *named, 0) + 1


def _next_master(folder: Path) -> str:
    """The public half of the new master, which stands on disk from now on. One that was made for nothing is made anew."""
    (folder / NEXT).unlink(missing_ok=True)
    master = Identity.generate()
    write_once(folder / NEXT, str(master))
    return str(master.to_public())


def switch(folder: Path, approved: KeyChangeRequest, version: KeyRingVersion, now: datetime) -> None:
    """Puts the ring into force; then the files get their names. Repeatable."""
    following = RingFile(version.wrapping, version.online, recorded.recipients_of(version), approved.pk)
    replace_file(folder / RING, following.text())
    settle_files(folder, now)


def settle_files(folder: Path, now: datetime) -> None:
    """The master in force stands in `master.age`, a former one beside it, and the first recipient in `escrow.recipient`. Whatever their
    names are, the ring is the same."""
    said = ring_file(folder)
    if _public_of(folder / NEXT) == said.online:
        former = _public_of(folder / MASTER)
        if former is not None and former != said.online:
            kept = folder / f"master.retired-{now:%Y-%m-%d}-{said.wrapping - 1}.age"
            if not kept.exists():
                os.link(folder / MASTER, kept)
                flush(folder)
        (folder / NEXT).replace(folder / MASTER)
        flush(folder)
    if not (folder / ESCROW).exists() or read_key_file(folder / ESCROW) != said.recipients[0][1]:
        replace_file(folder / ESCROW, said.recipients[0][1])


def _public_of(path: Path) -> str | None:
    """Of the identity in that file; None where there is none that can be read."""
    try:
        return str(Identity.from_str(read_key_file(path)).to_public())
    except (KeysMissing, pyrage.IdentityError, UnicodeDecodeError):
        return None


def read_identity(path: Path) -> Identity:
    """A secret half from a file that only its owner can read; it is held in memory and written nowhere. Raises `KeysMissing`."""
    if not path.exists():
        raise KeysMissing(f"{path} is not there.")
    lines = [line.strip() for line in keyfiles.read_key_file(path).splitlines()]
    secrets = [line for line in lines if line.upper().startswith("AGE-SECRET-KEY-")]
    try:
        [text] = secrets
        return Identity.from_str(text)
    except (ValueError, pyrage.IdentityError):
        raise KeysMissing(
            f"{path} does not hold exactly one age key (a line AGE-SECRET-KEY-…) that can be read. Compare it with the recovery kit, "
            "letter by letter."
        ) from None
