"""From the return on nobody changes the customer's data, be it for years (design section 9)."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from django.db import transaction

from audit import freezes
from audit.errors import Frozen
from audit.models import Stream
from backups.errors import NotReturned
from subscriptions.ending import returns
from subscriptions.ending.requests import freeze_reason
from subscriptions.ending.states import FROZEN, State
from subscriptions.models import DeletionRequest


def freeze(request: DeletionRequest, now: datetime) -> None:
    """Waits for the writers under way and refuses all others from then on; safe to repeat. Raises `NotReturned` while somebody else's
    freeze stands, for that must not end with ours, nor ours with it."""
    with transaction.atomic():
        if not is_ours(request):
            try:
                freezes.freeze_free(request.stream, reason=freeze_reason(request))
            except Frozen as problem:
                raise NotReturned(f"{problem} The return goes on by itself when that is over.") from None
        if request.frozen_at is None:
            returns.frozen(request, at=now)
    request.refresh_from_db()


def is_ours(request: DeletionRequest) -> bool:
    """Whether the freeze of this request stands."""
    stream = Stream.objects.get(pk=request.stream)
    return stream.frozen_at is not None and stream.frozen_reason == freeze_reason(request)


def keep_frozen() -> None:
    """Freezes again whose freeze is gone, such as after a recovery of the whole service. What is destroyed stays frozen for ever; a package
    under way freezes by itself. Where somebody else's freeze stands nobody writes either, and the next look takes its place."""
    states = [one.value for one in FROZEN - {State.RETURNING}]
    for request in DeletionRequest.objects.filter(state__in=states).order_by("pk"):
        stream = Stream.objects.filter(pk=request.stream).first()
        if stream is not None and stream.frozen_at is None:
            with suppress(Frozen):  # by somebody who was quicker than we are
                freezes.freeze_free(request.stream, reason=freeze_reason(request))
