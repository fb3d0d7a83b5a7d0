"""What else has to hold once all places were found empty: registered by whoever proves it (the drill, the forgetting database, the
certificate), so that the sweeps know nothing of how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from backups.models import DestructionSweep
from backups.vault import Vault
from subscriptions.models import DeletionRequest

Stage = DestructionSweep.Stage
# Beside the sweeps: when a destruction that has begun cannot go on, once until it does.
STUCK = "stuck"
# Raises what stands in the way: then the request stays as it is, and the next look tries again.
Deed = Callable[[Vault, DeletionRequest, datetime], object]
_deeds: dict[str, list[Deed]] = defaultdict(list)


def at(stage: str) -> Callable[[Deed], Deed]:
    """Registers a function for a stage; stands as a decorator. Each is called after a clean sweep of that stage, until it has returned
    once; it must be safe to repeat."""

    def register(deed: Deed) -> Deed:
        if deed not in _deeds[stage]:
            _deeds[stage].append(deed)
        return deed

    return register


def deeds(stage: str) -> list[Deed]:
    return list(_deeds[stage])
