"""What begins by itself when the last subscription is over: the request, and the return. Nobody has to ask for a promise (P10)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError

from audit.errors import AuditError
from subscriptions.ending import requests, returns
from subscriptions.ending.states import MoveRefused
from subscriptions.models import DeletionRequest


class EndsNotBegun(AuditError):
    """Ends that are due could not be begun; the message says which, and why."""


@dataclass(slots=True)
class Begun:
    """What one look came to, by short codes; `failed` says why."""

    opened: list[str] = field(default_factory=list)
    begun: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def begin_due(now: datetime) -> Begun:
    """Opens what is due and begins the returns, each by itself: one customer's trouble stops no other. Safe to run twice and in several
    processes. Stands inside `audit.acting(...)`."""
    found = Begun(opened=[one.customer.code for one in requests.open_due(now)])
    for request in returns.due(now):
        try:
            returns.begin(request, now=now)
            found.begun.append(request.customer.code)
        except MoveRefused as refusal:
            if _is_still_asked_for(request):  # else somebody was faster
                found.failed[request.customer.code] = str(refusal)
        except (AuditError, DatabaseError) as problem:
            found.failed[request.customer.code] = str(problem)
    return found


def _is_still_asked_for(request: DeletionRequest) -> bool:
    return DeletionRequest.objects.filter(pk=request.pk, state=request.state).exists()
