"""Who may take which report: whoever sees the customer, and of its content the models that they see (P5). Asked by the making itself."""

from __future__ import annotations

from typing import Any

from audit.errors import AuditError
from subscriptions.models import Customer

SEES = "l2l_subscriptions.view_customer"


class NotYours(AuditError):
    """This person may not see the customer."""


def check_sees(user: Any, customer: Customer) -> None:
    """Raises `NotYours`, in the same words whether it is there for somebody else or not at all."""
    if not user.has_perm(SEES) or not Customer.objects.visible_to(user).filter(pk=customer.pk).exists():
        raise NotYours(f"{user.get_username()} may not take this: it is not a customer of theirs.")
