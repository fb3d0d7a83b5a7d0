"""The data goes back to the customer (P10): the package is made from the final set, handed over, and made again after a fault."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from audit.events import Event, record
from subscriptions.ending.contracts import is_over
from subscriptions.ending.moving import acts, check_reason, moving
from subscriptions.ending.requests import check_over
from subscriptions.ending.states import Move, MoveRefused, State
from subscriptions.models import DataReturn, DeletionRequest

# A package can be fetched for so long.
KEPT = timedelta(days=60)


def due(now: datetime) -> list[DeletionRequest]:
    """The requests whose return begins by itself: nobody has to ask for a promise."""
    asked = DeletionRequest.objects.filter(state=State.REQUESTED.value).select_related("customer").order_by("requested_at")
    return [one for one in asked if is_over(one.customer, now)]


def begin(request: DeletionRequest, *, by: Any = None, now: datetime) -> DeletionRequest:
    """The back office is to freeze the data and make the package; by itself (`by` None) once the last day is over. Raises `MoveRefused`."""
    check_over(request, now)
    with moving(request, Move.RETURN, by=by, why="the data is returned") as row:
        record(Event.RETURN_BEGUN, subject=row, customer=row.stream, facts={"number": _next_number(row)})
    return row


def frozen(request: DeletionRequest, *, at: datetime) -> None:
    """Notes that nobody changes the data any more, since that moment."""
    with transaction.atomic():
        row = DeletionRequest._base_manager.select_for_update().get(pk=request.pk)
        if row.state != State.RETURNING:
            raise MoveRefused(f"It is {row.state}: its data is not being returned.")
        row.frozen_at = row.frozen_at or at
        row.save()


def returned(
    request: DeletionRequest,
    *,
    set_id: uuid.UUID,
    package_sha256: str,
    manifest_sha256: str,
    size: int,
    file_name: str,
    path: str,
    encrypted_to: str,
    counts: Mapping[str, int],
    now: datetime,
) -> DataReturn:
    """The package that was made, reopened and verified. Raises `MoveRefused`."""
    with moving(request, Move.RETURNED) as row:
        made = DataReturn(
            request=row,
            number=_next_number(row),
            set_id=set_id,
            package_sha256=package_sha256,
            manifest_sha256=manifest_sha256,
            size=size,
            file_name=file_name,
            path=path,
            encrypted_to=encrypted_to,
            counts=dict(counts),
            made_at=now,
            verified_at=now,
            expires_at=now + KEPT,
        )
        made.full_clean(exclude=("delivered_at", "fault_at", "removed_at"))  # what is still to come
        made.save()
        facts = {"number": made.number, "set": str(set_id), "sha256": package_sha256, "bytes": size}
        record(Event.RETURN_MADE, subject=made, customer=row.stream, facts=facts)
    return made


def delivered(data_return: DataReturn, *, way: str, now: datetime) -> None:
    """Notes that the package was handed over, each time; `way` is one word (`staff`, `link`). The first time counts for the reminders."""
    with transaction.atomic():
        row = taken(data_return)
        row.delivered_at = row.delivered_at or now
        row.save()
        facts = {"number": row.number, "sha256": row.package_sha256, "bytes": row.size, "way": way}
        record(Event.RETURN_HANDED_OVER, subject=row, customer=row.request.stream, facts=facts)


def report_fault(data_return: DataReturn, *, what: str, by_name: str, by: Any = None, now: datetime) -> DeletionRequest:
    """The customer cannot use the package: it is made anew, and what was told of this one counts no more. `by` is the member of staff who
    was told of it; None when the customer says so on its page. Raises `MoveRefused`."""
    with moving(data_return.request, Move.FAULT, by=by, why=check_reason(what)) as row:
        faulty = taken(data_return)
        check_current(faulty)
        faulty.fault, faulty.fault_by, faulty.fault_at = what.strip(), by_name[:200], now
        faulty.save()
        record(Event.RETURN_FAULT, subject=faulty, customer=row.stream, facts={"number": faulty.number})
    return row


def removed(data_return: DataReturn, *, now: datetime) -> None:
    """Notes that our copy of the package was seen to be gone."""
    with transaction.atomic(), acts(None, "the package is gone"):
        row = taken(data_return)
        row.removed_at = row.removed_at or now
        row.save()


def current(request: DeletionRequest) -> DataReturn | None:
    """The package that the customer has to verify; None before there is one, and after a fault."""
    return DataReturn.objects.filter(request=request, fault_at=None).order_by("-number").first()


def current_of_all(requests: Iterable[DeletionRequest]) -> dict[int, DataReturn]:
    """The `current` packages of those that have one, by the keys of the requests; one query."""
    found = DataReturn.objects.filter(request__in=[one.pk for one in requests], fault_at=None).order_by("number")
    return {one.request_id: one for one in found}


def check_current(data_return: DataReturn) -> None:
    if data_return.fault_at is not None:
        raise MoveRefused("A fault of this package was reported: another one takes its place.")


def taken(data_return: DataReturn) -> DataReturn:
    """The row as it is stored, locked."""
    return DataReturn._base_manager.select_for_update().get(pk=data_return.pk)


def _next_number(request: DeletionRequest) -> int:
    return DataReturn.objects.filter(request=request).count() + 1
