"""Customers, their contracts, and their content."""

from subscriptions.models.content import DataRecord, Link, UploadedContent
from subscriptions.models.customer import Customer, Subscription
from subscriptions.models.ending import DataReturn, DeemedReceiptRequest, DeletionRequest, EndingNotice, Receipt
from subscriptions.models.export import Export
from subscriptions.models.holds import HoldReleaseRequest, LegalHold
from subscriptions.models.reconciling import Reconciliation
from subscriptions.models.terms import TermChangeRequest

__all__ = [
    "Customer",
    "DataRecord",
    "DataReturn",
    "DeemedReceiptRequest",
    "DeletionRequest",
    "EndingNotice",
    "Export",
    "HoldReleaseRequest",
    "LegalHold",
    "Link",
    "Receipt",
    "Reconciliation",
    "Subscription",
    "TermChangeRequest",
    "UploadedContent",
]
