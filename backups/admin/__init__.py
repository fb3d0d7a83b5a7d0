"""Locations, sets, nights, the policy, stored objects and the queue, as people see and steer them."""

from backups.admin import live_restores, locations, objects, policies, queue, runs, sets

__all__ = ["live_restores", "locations", "objects", "policies", "queue", "runs", "sets"]
