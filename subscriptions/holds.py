"""Legal holds: placed by one person, released by two, asked for before every removal (P9; design section 7)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from django.db import transaction

from audit.errors import AuditError
from audit.events import Event, record
from audit.models import Stream
from audit.moments import in_utc
from subscriptions.models import Customer, LegalHold


class OnHold(AuditError):
    """A legal hold is open: nothing of the customer may be removed, whatever was decided before."""


def place(customer: Customer, *, holder: str, basis: str, review_on: date, by: Any, now: datetime) -> LegalHold:
    """The new hold, at once. A removal under way sees it at its next step. Stands inside `audit.acting(...)`; raises `ValidationError`."""
    hold = LegalHold(customer=customer, holder=holder, basis=basis, review_on=review_on, placed_by=by.get_username(), placed_at=now)
    hold.full_clean()
    with transaction.atomic():
        _taken(customer.pk)
        hold.save()
        record(Event.HOLD_PLACED, subject=hold, customer=customer.pk, facts={"review": review_on.isoformat()})
    return hold


def held(streams: Iterable[uuid.UUID] | None = None) -> set[uuid.UUID]:
    """Those of the customers (of all, for None) with an open hold."""
    open_holds = LegalHold.objects.filter(released_at=None)
    if streams is not None:
        open_holds = open_holds.filter(customer__in=list(streams))
    return set(open_holds.values_list("customer", flat=True))


def refuse_held(stream: uuid.UUID) -> None:
    """Stands at the beginning of the transaction that decides a removal: raises `OnHold`, and lets no hold be placed before its end."""
    _taken(stream)
    hold = LegalHold.objects.filter(customer=stream, released_at=None).order_by("placed_at").first()
    if hold is not None:
        raise OnHold(
            f"A legal hold of {hold.holder} is open since {in_utc(hold.placed_at)}: nothing is removed until two people released it."
        )


def _taken(stream: uuid.UUID) -> Stream:
    """The stream's row, against other deciders; those who write content only share it."""
    return Stream.objects.select_for_update(no_key=True).get(pk=stream)
