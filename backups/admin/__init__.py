"""Locations, sets, nights, the policy, stored objects and the queue, as people see and steer them."""

from backups.admin import hot, item_exports, kept, live_restores, locations, objects, policies, queue, retention, runs, sets

__all__ = ["hot", "item_exports", "kept", "live_restores", "locations", "objects", "policies", "queue", "retention", "runs", "sets"]
