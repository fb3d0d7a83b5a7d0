"""Locations, sets, nights, the policy, stored objects and the queue, as people see and steer them."""

from backups.admin import item_exports, locations, objects, policies, queue, runs, sets

__all__ = ["item_exports", "locations", "objects", "policies", "queue", "runs", "sets"]
