"""Subscriptions and their terms, content, exports and legal holds, as people see them."""

from subscriptions.admin import content, contracts, deemed_receipts, holds, reconciliations, terms
from subscriptions.admin.contracts import state_of
from subscriptions.admin.renewals import renew_url
from subscriptions.admin.terms import change_terms_url, open_requests
from subscriptions.admin.visible import CustomerFilter, as_uuid, of_visible_customers

__all__ = [
    "CustomerFilter",
    "as_uuid",
    "change_terms_url",
    "content",
    "contracts",
    "deemed_receipts",
    "holds",
    "of_visible_customers",
    "open_requests",
    "reconciliations",
    "renew_url",
    "state_of",
    "terms",
]
