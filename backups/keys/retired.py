"""The retired master keys on this machine: what still needs them, and their end."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db.models import Count

import audit
from audit import actors
from audit.durability import flush
from audit.events import Event, record
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups import keyfiles
from backups.keys import recorded, rewrapping
from backups.keys.named import with_key
from backups.keys.requests import KeyChangeRefused
from backups.models import Blob, Copy, Location

OPERATES = "l2l_backups.operate_keys"
# A process that wrapped a key for the former ring holds its lease for minutes at most: later nothing comes that needs the former master.
NOT_BEFORE = timedelta(hours=1)


def still_needed(now: datetime) -> list[str]:
    """Why retired masters must stay, a line each; empty when they can be destroyed. In a constant number of queries."""
    ring = recorded.newest()
    reasons = [f"wrapping {ring.wrapping} is in force since less than an hour"] if now - ring.since < NOT_BEFORE else []
    keys, customers = rewrapping.count_pending(ring.wrapping)
    if keys:
        reasons.append(f"{keys:,} keys of {customers:,} customers are not wrapped anew yet: 'manage.py keys wrap' goes on")
    reasons += [
        f"{name} lacks the new wrapping of {count:,} keys: it gets them from the next backups, or from 'manage.py keys wrap'"
        for name, count in sorted(lacking(ring.wrapping).items())
    ]
    return reasons


def lacking(wrapping: int) -> dict[str, int]:
    """For each location in force how many keys have no copy of that wrapping, or of a later one, there."""
    stored = Copy.objects.filter(blob__kind=Blob.Kind.KEY, blob__state=Blob.State.STORED)
    copies = with_key(stored, "blob__name").order_by()
    wrapped = copies.filter(wrapped__gte=wrapping, state=Copy.State.PRESENT)
    there = dict(wrapped.values("location").annotate(keys=Count("key", distinct=True)).values_list("location", "keys"))
    keys = copies.aggregate(keys=Count("key", distinct=True))["keys"]
    names = Location.objects.filter(in_force=True).values_list("pk", "name")
    return {name: count for pk, name in names if (count := keys - there.get(pk, 0))}


def destroy(folder: Path, *, by: Any, why: str, now: datetime) -> list[str]:
    """Removes the files of the retired masters; returns their names. Raises `ApprovalRefused`, and `KeyChangeRefused` while something needs
    one. (On a disk that copies on write the old bytes may stay until they are written over.)"""
    if not by.has_perm(OPERATES):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not do this: it needs the right {OPERATES}.")
    if not why.strip():
        raise KeyChangeRefused("Say why.")
    if needed := still_needed(now):
        raise KeyChangeRefused("A retired master key is still needed: " + "; ".join(needed) + ". Nothing was removed.")
    files = keyfiles.retired_masters(folder)
    with audit.acting(actors.of_user(by, reason=why)):
        record(Event.MASTER_DESTROYED, subject="keys:ring", facts={"files": len(files), "wrapping": recorded.newest().wrapping})
        for file in files:
            file.unlink()
        flush(folder)
    return [file.name for file in files]
