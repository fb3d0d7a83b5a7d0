"""What is approved and not yet done with the keys is done, and what is wrapped for former recipients is wrapped anew: again and again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pyrage.x25519 import Identity

from backups import vault as vaults
from backups.keys import recorded, requests, rewrapping, switching
from backups.keys.requests import Deed
from backups.keys.rewrapping import Progress, Wrapped
from backups.models import KeyChangeRequest


def keep(folder: Path, now: datetime, *, progress: Progress = lambda _: None) -> Wrapped:
    """Carries out what is approved and needs nobody's secret, then wraps. Stands inside `audit.acting(...)`. Raises as those do."""
    waiting = requests.approved()
    if waiting is not None and waiting.deed != Deed.REPLACE:
        switching.carry_out(folder, waiting, now=now)
    else:
        switching.settle_files(folder, now)
        recorded.ensure_recorded(folder, now)
    return rewrapping.wrap_anew(vaults.from_settings(), progress=progress)


def carry_out(
    folder: Path, asked: KeyChangeRequest, *, now: datetime, escrow: Identity | None = None, progress: Progress = lambda _: None
) -> Wrapped:
    """One approved change, and every key wrapped for it. Raises what `switching.carry_out` and `wrap_anew` raise: when the first is done
    and the second is cut short, `keys wrap` or the next hour goes on."""
    switching.carry_out(folder, asked, now=now, escrow=escrow)
    return rewrapping.wrap_anew(vaults.from_settings(), escrow=escrow, progress=progress)
