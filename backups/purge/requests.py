"""Asking that content past its term goes, and deciding on it: the account manager asks, another person approves exactly that (P5, P9)."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction

from audit import two_person
from audit.states import State
from audit.two_person import NOT_ENTITLED, ApprovalRefused
from backups.errors import NotPurgeable
from backups.models import PurgeRequest
from backups.purge.planning import Plan, Scope, make_plan, plan_of
from subscriptions import holds, past_term
from subscriptions.models import Customer

LONGEST_AHEAD = timedelta(days=365)
OPEN = (State.REQUESTED.value, State.APPROVED.value)
Term = PurgeRequest.Term


def preview(customer: Customer, term: str, day: date) -> Plan:
    """What would go; nothing is stored."""
    return make_plan(Scope(customer, term, day))


def ask(customer: Customer, term: str, day: date, *, by: Any, why: str, now: datetime) -> PurgeRequest:
    """The new request. Raises `ApprovalRefused` when this person may not ask, `OnHold`, and `NotPurgeable` for a day that will not do, when
    nothing would go, or when another request about that term is open."""
    _check_sees(by, customer.pk, "ask for")
    _check_day(customer, term, day, now)
    refuse_held(customer)
    if other := PurgeRequest.objects.filter(customer=customer, term=term, state__in=OPEN).first():
        raise NotPurgeable(f"Request {other.pk} of this customer is {other.state}: it must be over before there is another one.")
    plan = preview(customer, term, day)
    _refuse_empty(plan)
    return two_person.request(
        PurgeRequest,
        by=by,
        what=f"purge of {customer.code}, {in_words(plan)}"[:200],
        why=why,
        plan=plan.document,
        now=now,
        customer=customer,
        term=term,
        day=day,
        counts=plan.counts,
    )


def approve(asked: PurgeRequest, *, by: Any, password: str, now: datetime) -> PurgeRequest:
    """Approved: each item goes when its day has come. Raises what `two_person.approve` raises (a moved plan voids it), and `OnHold`."""
    _check_sees(by, asked.customer_id, "approve")
    refuse_held(asked.customer)
    return two_person.approve(asked, by=by, password=password, plan=plan_of(asked).document, now=now)


def refuse(asked: PurgeRequest, *, by: Any, why: str, now: datetime) -> PurgeRequest:
    _check_sees(by, asked.customer_id, "refuse")
    return two_person.refuse(asked, by=by, why=why, now=now)


def cancel(asked: PurgeRequest, *, by: Any, why: str, now: datetime) -> PurgeRequest:
    """What went before stays gone; nothing more goes."""
    _check_sees(by, asked.customer_id, "cancel")
    return two_person.cancel(asked, by=by, why=why, now=now)


def refuse_held(customer: Customer) -> None:
    """`OnHold` while a legal hold is open. For asking and approving; each removal looks again in its own transaction."""
    with transaction.atomic():
        holds.refuse_held(customer.pk)


def in_words(plan: Plan) -> str:
    """`12 items past 20 years since the last change on 2026-03-10`."""
    count = sum(plan.counts.values())
    return f"{count:,} item{'' if count == 1 else 's'} past their {_TERMS[plan.scope.term]} on {plan.scope.day}"


_TERMS = {Term.STANDARD.value: "20 years", Term.AGREED.value: "agreed term"}


def _check_day(customer: Customer, term: str, day: date, now: datetime) -> None:
    today = past_term.today_of(customer, now)
    if term == Term.STANDARD and day > today:
        raise NotPurgeable("What is past the standard term is decided on when it is: name a day up to today. Only agreed terms go ahead.")
    if day > today + LONGEST_AHEAD:
        raise NotPurgeable(f"That is too far ahead: the latest day is {today + LONGEST_AHEAD}.")


def _refuse_empty(plan: Plan) -> None:
    if not plan.items:
        kept = sum(plan.waiting.values())
        because = f" {kept:,} items stay for now, because rows that do not go point at them." if kept else ""
        raise NotPurgeable(f"Nothing of this customer is past that term on {plan.scope.day}.{because}")


def _check_sees(by: Any, customer: uuid.UUID, verb: str) -> None:
    if not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not {verb} this: it is not a customer of theirs.")
