"""The escrow drill: somebody brings a recipient's secret half, and with it alone keys are opened everywhere, and an object under each.

The secret half is held in memory and written nowhere. What was found is an event and an `EscrowDrill`; a drill that failed is a finding.
Due each quarter.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyrage
from django.db import transaction
from pyrage.x25519 import Identity

import audit
from audit import actors, findings
from audit.events import Event, record
from audit.findings import Kind
from audit.models import Stream
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups.keys import listing, recorded
from backups.keys.listing import OWED, ListedKey
from backups.keys.switching import holder_of
from backups.locations import Place
from backups.manifest import MAX_BODY_BYTES
from backups.models import BackupSet, Blob, EscrowDrill
from backups.placing import sha256_of
from backups.sealing import NotOpened, unseal
from backups.stores.contract import StoreError
from backups.vault import Vault

DUE_EVERY = timedelta(days=92)
DRILLS = EscrowDrill._meta.app_label + ".add_escrowdrill"
SUBJECT = "keys:escrow"
Progress = Callable[[str], None]


@dataclass(slots=True)
class _Found:
    opened: int = 0
    objects: int = 0
    failed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def due_at() -> datetime | None:
    """When the next drill is due: a quarter after the last that passed, or after the first ring; None before there is a ring."""
    passed = EscrowDrill.objects.filter(result=EscrowDrill.Result.PASSED).order_by("-drilled_at").first()
    if passed is not None:
        return passed.drilled_at + DUE_EVERY
    first = recorded.KeyRingVersion.objects.order_by("wrapping").first()
    return first.since + DUE_EVERY if first is not None else None


def overdue(now: datetime) -> bool:
    due = due_at()
    return due is not None and due < now


def drill(
    vault: Vault, identity: Identity, *, by: Any, now: datetime, sample: int | None = None, progress: Progress = lambda _: None
) -> EscrowDrill:
    """The drill, made and recorded. Raises `ApprovalRefused`, and `KeyChangeRefused` for an identity that is no recipient's: nothing was
    tried then, and nothing is recorded."""
    if not by.has_perm(DRILLS):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not do this: it needs the right {DRILLS}.")
    name, ring = holder_of(identity), recorded.newest()
    keys = [one for one in listing.listed(list(Stream.objects.all())) if one.wrappings]
    chosen = keys if sample is None or sample >= len(keys) else random.SystemRandom().sample(keys, sample)
    places, troubles = vault.usable()
    found = _Found(missing=[f"{place}: {why}" for place, why in troubles.items()])
    for at, key in enumerate(chosen, start=1):
        progress(f"{at} of {len(chosen)} keys")
        _try_key(key, name, identity, places, found)
    if not keys:
        found.missing.append("there is no key yet: back up a customer first")
    made = EscrowDrill(recipient=name, wrapping=ring.wrapping, drilled_at=now, drilled_by=by.get_username(), keys=len(chosen))
    made.sample = None if len(chosen) == len(keys) else sample
    made.opened, made.objects_opened, made.failed, made.missing = found.opened, found.objects, len(found.failed), len(found.missing)
    made.result = _result(found)
    made.detail = "\n".join([*found.failed, *found.missing][:1000])
    return _recorded(made, by, now)


def _result(found: _Found) -> str:
    if found.failed:
        return EscrowDrill.Result.FAILED
    return EscrowDrill.Result.INCOMPLETE if found.missing else EscrowDrill.Result.PASSED


def _recorded(made: EscrowDrill, by: Any, now: datetime) -> EscrowDrill:
    with audit.acting(actors.of_user(by, reason="escrow drill", source="keys")), transaction.atomic():
        made.save()
        facts = {"recipient": made.recipient, "result": str(made.result), "keys": made.keys, "opened": made.opened}
        if made.result == EscrowDrill.Result.FAILED:
            text = f"The drill of {made.recipient} failed at {made.failed} copies or objects: see the drill's page."
            findings.open_finding(Kind.ESCROW_DRILL, subject=SUBJECT, customer=None, text=text, now=now)
        elif made.result == EscrowDrill.Result.PASSED and made.sample is None:
            findings.close_as_mended(Kind.ESCROW_DRILL, subject=SUBJECT, resolution="A drill of every key passed.", now=now)
        facts |= {"objects": made.objects_opened, "failed": made.failed, "missing": made.missing}
        record(Event.ESCROW_DRILLED, subject=made, facts=facts)
    return made


def _try_key(key: ListedKey, holder: str, identity: Identity, places: Sequence[Place], found: _Found) -> None:
    """The newest wrapping at each place, and one object under the key there. A wrapping that was never for this holder has failed: the key
    must be wrapped anew."""
    wrapping = key.wrappings[0]
    states = {copy.location: copy.state for copy in wrapping.copies}
    for place in places:
        if states.get(place.name, OWED) == OWED:
            found.missing.append(f"{wrapping.name} is owed to {place.name}")
            continue
        try:
            data = place.store.get(wrapping.name)
            if sha256_of(data) != wrapping.sha256:
                found.failed.append(f"{wrapping.name} is damaged at {place.name}")
                continue
            opened = Identity.from_str(pyrage.decrypt(data, [identity]).decode())
        except (StoreError, pyrage.DecryptError, pyrage.IdentityError, UnicodeDecodeError) as problem:
            found.failed.append(f"{wrapping.name} does not open for {holder} at {place.name} ({type(problem).__name__})")
            continue
        found.opened += 1
        _try_object(key.stream, key.number, opened, place, found)


def _try_object(stream: uuid.UUID, number: int, opened: Identity, place: Place, found: _Found) -> None:
    """The body of the newest set under the key, which retention does not let go; nothing of it leaves this function."""
    newest = BackupSet.objects.filter(stream=stream, key_number=number, state=BackupSet.State.MADE).order_by("-started_at").first()
    body = Blob.objects.filter(made_by=newest, kind=Blob.Kind.BODY, copies__location=place.location, copies__state="present").first()
    if newest is None or body is None:
        return  # a new key, or a set that this location is owed
    try:
        data = place.store.get(body.name)
        if sha256_of(data) != body.sha256:
            raise NotOpened("it is damaged")
        unseal(data, opened, limit=MAX_BODY_BYTES)
    except (StoreError, NotOpened) as problem:
        if BackupSet.objects.filter(pk=newest.pk, state=BackupSet.State.MADE).exists():
            found.failed.append(f"{body.name} does not open at {place.name} ({problem})")
        return
    found.objects += 1
