"""Taking on a customer: its stream, its row and its first subscription, together or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from audit.events import Event, record
from audit.models import Stream
from subscriptions.models import Customer, Subscription


@transaction.atomic
def add_customer(
    code: str,
    name: str,
    *,
    start: date,
    agreement_number: str = "",
    account_manager: Any = None,
    zone: str = "UTC",
    **terms: Any,
) -> Customer:
    """The new customer with one subscription; `terms` are further columns of the subscription.

    Raises `ValidationError` when the code was ever used or a value does not fit. Stands inside `audit.acting(...)`.
    """
    customer = Customer(id=uuid.uuid4(), code=code, name=name, zone=zone, account_manager=account_manager)
    customer.full_clean()
    if Stream.objects.filter(name=code).exists():
        raise ValidationError({"code": f"The code {code!r} was used before; codes are never used again."})
    Stream.objects.create(id=customer.id, name=code)
    customer.save()
    subscription = Subscription(customer=customer, agreement_number=agreement_number or f"{code}-1", start=start, **terms)
    subscription.full_clean()
    subscription.save()
    record(Event.CUSTOMER_ADDED, subject=customer, customer=customer.pk, facts={"code": code})
    return customer


@transaction.atomic
def add_customers(new: Iterable[tuple[Customer, Subscription]]) -> None:
    """Many customers, each with its subscription, whose values were checked: all or none. Raises `IntegrityError` for a code or an
    agreement number that was used. Stands inside `audit.acting(...)`.

    The events come last: whoever writes one keeps all others waiting until the end."""
    rows = list(new)
    Stream.objects.bulk_create([Stream(id=customer.id, name=customer.code) for customer, _ in rows], batch_size=1000)
    Customer.objects.tracked_create(customer for customer, _ in rows)
    Subscription.objects.tracked_create(subscription for _, subscription in rows)
    for customer, _ in rows:
        record(Event.CUSTOMER_ADDED, subject=customer, customer=customer.pk, facts={"code": customer.code})
