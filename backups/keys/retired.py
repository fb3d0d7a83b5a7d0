"""The retired master keys on this machine: what still needs them, and their end."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import audit
from audit import actors
from audit.durability import flush
from audit.events import Event, record
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups import keyfiles
from backups.keynames import key_name
from backups.keys import recorded, rewrapping
from backups.keys.requests import KeyChangeRefused
from backups.models import Blob, Copy, Location

OPERATES = "l2l_backups.operate_keys"
# A process that wrapped a key for the former ring holds its lease for minutes at most: later nothing comes that needs the former master.
NOT_BEFORE = timedelta(hours=1)


def still_needed(now: datetime) -> list[str]:
    """Why retired masters must stay, a line each; empty when they can be destroyed. In a constant number of queries."""
    ring = recorded.newest()
    reasons = [f"wrapping {ring.wrapping} is in force since less than an hour"] if now - ring.since < NOT_BEFORE else []
    if waiting := rewrapping.pending(ring.wrapping):
        count = sum(map(len, waiting.values()))
        reasons.append(f"{count:,} keys of {len(waiting):,} customers are not wrapped anew yet: 'manage.py keys wrap' goes on")
    reasons += [
        f"{name} lacks the new wrapping of {count:,} keys: it gets them from the next backups, or from 'manage.py keys wrap'"
        for name, count in sorted(lacking(ring.wrapping).items())
    ]
    return reasons


def lacking(wrapping: int) -> dict[str, int]:
    """For each location in force how many keys have no copy of that wrapping there."""
    names = dict(Location.objects.filter(in_force=True).values_list("pk", "name"))
    there: dict[tuple[Any, int], set[int]] = defaultdict(set)
    keys: set[tuple[Any, int]] = set()
    copies = Copy.objects.filter(blob__kind=Blob.Kind.KEY, blob__state=Blob.State.STORED)
    for stream, name, location, state in copies.values_list("blob__stream_id", "blob__name", "location", "state").iterator(chunk_size=2000):
        number, wrapped = key_name(name)
        keys.add((stream, number))
        if wrapped >= wrapping and state == Copy.State.PRESENT:
            there[stream, number].add(location)
    counted = {name: sum(pk not in there[key] for key in keys) for pk, name in names.items()}
    return {name: count for name, count in counted.items() if count}


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
