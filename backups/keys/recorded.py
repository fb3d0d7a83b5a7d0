"""Who can open what: the key rings as they were decided, which the key files must agree with."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import audit
from audit import actors
from backups import keyfiles
from backups.errors import KeysMissing
from backups.keyfiles import RingFile
from backups.models import KeyRingVersion


def newest() -> KeyRingVersion:
    """The ring in force. `KeysMissing` before 'manage.py init' recorded one."""
    found = KeyRingVersion.objects.order_by("-wrapping").first()
    if found is None:
        raise KeysMissing("No key ring is recorded. Run 'manage.py init' where the key files are.")
    return found


def ensure_recorded(folder: Path, now: datetime) -> bool:
    """Records what the key files say when the database knows no ring as new; returns whether it did. Safe to run again."""
    said, known = keyfiles.ring_file(folder), KeyRingVersion.objects.order_by("-wrapping").first()
    if known is not None and known.wrapping >= said.wrapping:
        return False
    with audit.acting(actors.current() if _acts() else actors.of_shell("init", reason="what the key files say")):
        record(said, now=now, made_by="init", reason="what the key files say")
    return True


def record(said: RingFile, *, now: datetime, made_by: str, approved_by: str = "", reason: str = "") -> KeyRingVersion:
    """Stands inside `audit.acting(...)`."""
    version = KeyRingVersion(wrapping=said.wrapping, online=said.online, recipients=[list(one) for one in said.recipients], since=now)
    version.made_by, version.approved_by, version.reason, version.request = made_by, approved_by, reason, said.request
    version.save()
    return version


def recipients_of(version: KeyRingVersion) -> tuple[tuple[str, str], ...]:
    """(Name, public half) beside the online master, the escrow first."""
    return tuple((str(name), str(recipient)) for name, recipient in version.recipients)


def _acts() -> bool:
    try:
        actors.current()
    except audit.errors.NoActor:
        return False
    return True
