"""Locations, sets, nights, the policy, purges, stored objects and the queue, as people see and steer them."""

from backups.admin import (
    hot,
    item_exports,
    kept,
    keys,
    live_restores,
    locations,
    objects,
    policies,
    purges,
    queue,
    retention,
    runs,
    sets,
    test_restores,
    verification,
)

__all__ = [
    "hot",
    "item_exports",
    "kept",
    "keys",
    "live_restores",
    "locations",
    "objects",
    "policies",
    "purges",
    "queue",
    "retention",
    "runs",
    "sets",
    "test_restores",
    "verification",
]
