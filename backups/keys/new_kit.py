"""A recovery kit for the key ring in force, as `backups.recovery_kit` reads it.

The escrow key's secret half stands in the first kit alone, or wherever else its holder keeps it: this machine does not have it. So a later
kit has it only when its holder brings it; else it has its public half, which is enough to go on wrapping for it, and says where to look.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pyrage.x25519 import Identity

import audit
from audit import actors
from audit.events import Event, record
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups import keyfiles, recovery_kit
from backups.keys import recorded
from backups.keys.requests import KeyChangeRefused
from backups.keys.retired import OPERATES
from backups.keys.switching import holder_of


def make_kit(folder: Path, *, by: Any, why: str, now: datetime, escrow: Identity | None = None) -> Path:
    """The new kit's file, mode 0600, in the key folder. Raises `ApprovalRefused`, `KeysMissing`, and `KeyChangeRefused` while another
    kit still lies there, or for an identity that is no recipient's."""
    if not by.has_perm(OPERATES):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not do this: it needs the right {OPERATES}.")
    if not why.strip():
        raise KeyChangeRefused("Say why.")
    path = folder / keyfiles.KIT
    if path.exists():
        raise KeyChangeRefused(f"{path} still lies there. Store it away from this machine, delete it here, and ask again.")
    if escrow is not None:
        holder_of(escrow)
    ring, said = keyfiles.key_ring(folder), keyfiles.ring_file(folder)
    text = recovery_kit.text_of(said, ring.now().master, escrow, keyfiles.signer(folder), keyfiles.signing_secret(folder), now)
    recovery_kit.kit_of(text, "the new kit")  # what cannot be read back is no kit
    with audit.acting(actors.of_user(by, reason=why)):
        record(Event.KIT_MADE, subject="keys:ring", facts={"wrapping": recorded.newest().wrapping, "escrow": int(escrow is not None)})
        keyfiles.write_once(path, text)
    return path
