"""Subscriptions, content, exports and legal holds, as people see them."""

from subscriptions.admin import content, contracts, holds
from subscriptions.admin.contracts import state_of
from subscriptions.admin.visible import CustomerFilter, as_uuid, of_visible_customers

__all__ = ["CustomerFilter", "as_uuid", "content", "contracts", "holds", "of_visible_customers", "state_of"]
