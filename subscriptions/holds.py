"""Legal holds: placed by one person, released by two, asked for before every removal (P9; design section 7).

A hold only keeps: nothing is hidden, frozen or stopped by it but what would remove. It ends by no date, no term and no end of a
subscription; its review date asks a person to look. Each customer may have several, and all of them must be released before anything goes.

    asked = request_release(hold, by=ada, why="the case is closed", now=now)
    hold = release(asked, by=rita, password="...", now=now)

Everything here that changes something stands inside `audit.acting(...)`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils.timezone import localdate

import audit
from audit import actors, two_person
from audit.errors import AuditError
from audit.events import Event, record
from audit.models import Stream
from audit.moments import in_utc
from audit.states import State
from subscriptions.models import Customer, HoldReleaseRequest, LegalHold

PLACES = "l2l_subscriptions.add_legalhold"
UNDECIDED = (State.REQUESTED, State.APPROVED)


class OnHold(AuditError):
    """A legal hold is open: nothing of the customer may be removed, whatever was decided before."""


class HoldRefused(AuditError):
    """This person may not do that with the hold, or it is released already."""


# Placing and reviewing


def place(customer: Customer, *, holder: str, basis: str, review_on: date, by: Any, now: datetime) -> LegalHold:
    """The new hold, at once. A removal under way sees it at its next step. Raises `HoldRefused` and `ValidationError`."""
    _check_may(by, PLACES, customer.pk, "place a legal hold on this customer")
    hold = LegalHold(customer=customer, holder=holder, basis=basis, review_on=review_on, placed_by=by.get_username(), placed_at=now)
    hold.full_clean()
    _check_review_date(review_on, now)
    with transaction.atomic(), audit.because(basis):
        _taken(customer.pk)
        hold.save()
        record(Event.HOLD_PLACED, subject=hold, customer=customer.pk, facts={"review": review_on.isoformat()})
    return hold


def postpone_review(hold: LegalHold, *, review_on: date, why: str, by: Any, now: datetime) -> LegalHold:
    """The hold with its next review date, by somebody who looked and says why it must stay. Raises `HoldRefused` and `ValidationError`."""
    _check_may(by, PLACES, hold.customer_id, "postpone the review of this hold")
    if not why.strip():
        raise ValidationError({"why": "Say why it must stay."})
    _check_review_date(review_on, now)
    with transaction.atomic(), audit.because(why):
        stored = _open(hold)
        stored.review_on = review_on
        stored.save()
        record(Event.HOLD_POSTPONED, subject=stored, customer=stored.customer_id, facts={"review": review_on.isoformat()})
    return stored


def due_for_review(today: date) -> QuerySet[LegalHold]:
    """The open holds that somebody must look at on that day, the longest overdue first."""
    return LegalHold.objects.filter(released_at=None, review_on__lte=today).select_related("customer").order_by("review_on", "pk")


# Asked for before every removal


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


# Releasing, by two people


def plan_of(hold: LegalHold) -> dict[str, Any]:
    """What a release is bound to, as JSON: another holder or another ground is another hold."""
    basis = hashlib.sha256(hold.basis.encode()).hexdigest()
    return {"hold": hold.pk, "customer": str(hold.customer_id), "holder": hold.holder, "basis_sha256": basis}


def request_release(hold: LegalHold, *, by: Any, why: str, now: datetime) -> HoldReleaseRequest:
    """The new request. Raises `HoldRefused`, while another one is open too, and `ApprovalRefused`."""
    _check_sees(by, hold.customer_id, "ask for this release")
    with transaction.atomic():
        stored = _open(hold)
        if stored.releases.filter(state__in=UNDECIDED).exists():
            raise HoldRefused("Its release is asked for already: decide on that request, or cancel it.")
        what = f"release the legal hold of {stored.holder} on {stored.customer.code}"
        return two_person.request(HoldReleaseRequest, by=by, what=what[:200], why=why, plan=plan_of(stored), now=now, hold=stored)


def release(asked: HoldReleaseRequest, *, by: Any, password: str, now: datetime) -> LegalHold:
    """The hold, its release approved and done. Raises what `two_person.approve` and `finish` raise."""
    _check_sees(by, asked.hold.customer_id, "approve this release")
    approved = two_person.approve(asked, by=by, password=password, plan=plan_of(asked.hold), now=now)
    return finish(approved, now=now)


def finish(approved: HoldReleaseRequest, *, now: datetime) -> LegalHold:
    """The hold, released as an approved request asks; once, in the name of who asked. Raises `NotAllowed`, `PlanChanged`, `HoldRefused`."""
    approver = approved.approved_by.get_username() if approved.approved_by else ""
    with audit.acting(actors.of_user(approved.requested_by, reason=approved.why, source=actors.current().source)):
        two_person.check_plan(approved, plan_of(LegalHold.objects.get(pk=approved.hold_id)), now)
        with transaction.atomic():
            _taken(approved.hold.customer_id)
            hold = _open(approved.hold)
            two_person.executed(approved, plan=plan_of(hold), now=now)
            hold.released_at, hold.release_reason = now, approved.why
            hold.released_by, hold.release_approved_by = approved.requested_by.get_username(), approver
            hold.save()
            record(Event.HOLD_RELEASED, subject=hold, customer=hold.customer_id, facts={"approved_by": approver})
    return hold


def refuse(asked: HoldReleaseRequest, *, by: Any, why: str, now: datetime) -> HoldReleaseRequest:
    _check_sees(by, asked.hold.customer_id, "refuse this release")
    return two_person.refuse(asked, by=by, why=why, now=now)


def cancel(asked: HoldReleaseRequest, *, by: Any, why: str, now: datetime) -> HoldReleaseRequest:
    _check_sees(by, asked.hold.customer_id, "cancel this release")
    return two_person.cancel(asked, by=by, why=why, now=now)


def _check_may(by: Any, permission: str, customer: uuid.UUID, verb: str) -> None:
    if not by.has_perm(permission):
        raise HoldRefused(f"{by} may not {verb}: it needs the right {permission}.")
    _check_sees(by, customer, verb)


def _check_sees(by: Any, customer: uuid.UUID, verb: str) -> None:
    if not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise HoldRefused(f"{by} may not {verb}: it is not a customer of theirs.")


def _check_review_date(review_on: date, now: datetime) -> None:
    if review_on < localdate(now):
        raise ValidationError({"review_on": "That day is over: choose today or a later one."})


def _open(hold: LegalHold) -> LegalHold:
    """The row as it is stored, locked; `HoldRefused` when it was released meanwhile."""
    stored = LegalHold.objects.select_for_update().get(pk=hold.pk)
    if stored.released_at is not None:
        raise HoldRefused(f"It was released on {in_utc(stored.released_at)}. If the data must still be kept, place a new hold.")
    return stored


def _taken(stream: uuid.UUID) -> Stream:
    """The stream's row, against other deciders; those who write content only share it."""
    return Stream.objects.select_for_update(no_key=True).get(pk=stream)
