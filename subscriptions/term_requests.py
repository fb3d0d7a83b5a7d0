"""Changing what was agreed with a customer (P5, P9; design section 7). What lets nothing go sooner is made at once, by one person. What
may let something go sooner is asked for by one, approved by another, and made seven days after that; until then either may cancel it.

Never: a term that was written by a form or by a plain `save()` (`Subscription` refuses both); a change of a subscription that is not the
one that was looked at. A request is bound to the terms that it would change: when they are others by then, it is void.

    done = change_at_once(subscription, by=ada, why="the customer asked", now=now, agreed_retention_years=30)

    asked = request_change(subscription, by=ada, why="...", now=now, agreed_retention_years=7)
    asked = approve(asked, by=rita, password="...", now=now)
    make_due(asked.begins_at)

Everything here that changes something stands inside `audit.acting(...)`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

import audit
from audit import actors, two_person
from audit.errors import AuditError
from audit.events import Event, record
from audit.moments import in_utc
from audit.states import NotAllowed, State
from audit.two_person import NOT_ENTITLED, ApprovalRefused, PlanChanged
from subscriptions import term_effects
from subscriptions.models import Customer, Subscription, TermChangeRequest
from subscriptions.term_effects import Effect
from subscriptions.terms import AGREED, SHORTER_BEGINS_AFTER, SubscriptionTerms, changes

CHANGES_TERMS = TermChangeRequest.permission("add")
UNDECIDED = (State.REQUESTED, State.APPROVED)
FACTS = {"end": "end", "agreed_retention_years": "years", "agreed_destruction_days": "days"}

Agreed = tuple[SubscriptionTerms, ...]


class TermsRefused(AuditError):
    """The change of terms cannot be made as asked, or not yet; the message says what to do."""


class TermsNotMade(AuditError):
    """Changes that are due could not be made; the message says which, and why."""


# What if


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`before` and `after` are the terms of all subscriptions of the customer, the changed one first."""

    plan: dict[str, Any]
    before: Agreed
    after: Agreed
    begins: datetime
    effects: tuple[Effect, ...]

    @property
    def shorter(self) -> bool:
        """Whether it takes a second person, and seven days."""
        return _is_shorter(self.plan) or any(effect.sooner for effect in self.effects)

    @property
    def words(self) -> str:
        return in_words(self.plan)


def what_if(subscription: Subscription, *, now: datetime, **values: Any) -> WhatIf:
    """What the change would do; nothing is stored. Raises `TermsRefused` when it changes nothing, `ValidationError` for values that do
    not fit."""
    changed = _changed(subscription, values)
    changed.clean_fields(exclude=[one.name for one in Subscription._meta.fields if one.name not in AGREED])
    changed.clean()
    plan = plan_of(subscription, values)
    if not plan["changes"]:
        raise TermsRefused("Nothing would change.")
    others = [one.terms for one in Subscription.objects.filter(customer=subscription.customer_id).exclude(pk=subscription.pk)]
    before, after = (subscription.terms, *others), (changed.terms, *others)
    at_once = _foreseen(subscription, plan, before, after, now)
    return _foreseen(subscription, plan, before, after, now + SHORTER_BEGINS_AFTER) if at_once.shorter else at_once


def _foreseen(subscription: Subscription, plan: dict[str, Any], before: Agreed, after: Agreed, begins: datetime) -> WhatIf:
    effects = term_effects.effects(subscription.customer_id, before, after, begins)
    return WhatIf(plan, before, after, begins, tuple(effects))


def plan_of(subscription: Subscription, values: Mapping[str, Any]) -> dict[str, Any]:
    """What a change is bound to, as JSON: whose agreement, its terms before, and each change with `name`, `old`, `new`, `shorter`."""
    old, new = subscription.terms, _changed(subscription, values).terms
    return {
        "subscription": subscription.pk,
        "customer": str(subscription.customer_id),
        "agreement_number": subscription.agreement_number,
        "start": subscription.start.isoformat(),
        "before": {name: _plain(getattr(old, name)) for name in AGREED},
        "changes": [
            {"name": one.name, "old": _plain(one.old), "new": _plain(one.new), "shorter": one.shorter} for one in changes(old, new)
        ],
    }


def in_words(plan: dict[str, Any]) -> str:
    """`years that data is kept: standard → 7; last day: open-ended → 2027-12-31`"""
    return "; ".join(
        f"{label_of(one['name'])}: {value_in_words(one['name'], one['old'])} → {value_in_words(one['name'], one['new'])}"
        for one in plan["changes"]
    )


def _changed(subscription: Subscription, values: Mapping[str, Any]) -> Subscription:
    if unknown := values.keys() - set(AGREED):
        raise TermsRefused(f"{', '.join(sorted(unknown))}: no agreed term. There are {', '.join(AGREED)}.")
    changed = copy(subscription)
    for name, value in values.items():
        setattr(changed, name, Subscription._meta.get_field(name).to_python(value))
    return changed


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def label_of(name: str) -> str:
    """A term as people call it."""
    return str(Subscription._meta.get_field(name).verbose_name)


def value_in_words(name: str, value: Any) -> str:
    """A value of a plan as people read it."""
    if value is None:
        return "open-ended" if name == "end" else "standard"
    return str(value)


def _is_shorter(plan: dict[str, Any]) -> bool:
    return any(one["shorter"] for one in plan["changes"])


# One person


def change_at_once(subscription: Subscription, *, by: Any, why: str, now: datetime, **values: Any) -> Subscription:
    """The subscription with its new terms. Raises `TermsRefused` where something would go sooner by it, `ApprovalRefused` when this person
    may not or does not say why, and as `what_if`."""
    _check_may(by, subscription.customer_id)
    if not why.strip():
        raise ApprovalRefused("reason", "Say why.")
    with transaction.atomic(), audit.because(why):
        stored = _taken(subscription.pk)
        found = what_if(stored, now=now, **values)
        if found.shorter:
            raise TermsRefused(f"Data could go sooner by this ({found.words}): ask for it, so that another person decides.")
        _write(stored, found.plan, approved_by=None)
    _void_moved(stored, now)
    return stored


def _void_moved(stored: Subscription, now: datetime) -> None:
    """What was asked for before would change other terms than it was asked for: whoever waits for it is to know."""
    for asked in stored.term_requests.filter(state__in=UNDECIDED):
        with suppress(PlanChanged, NotAllowed):
            two_person.check_plan(asked, plan_of(stored, asked.changes), now)


# Two people


def request_change(subscription: Subscription, *, by: Any, why: str, now: datetime, **values: Any) -> TermChangeRequest:
    """The new request. Raises `TermsRefused` while another one is open, and where nothing would go sooner (one person changes that at
    once); `ApprovalRefused` when this person may not ask; and as `what_if`."""
    _check_may(by, subscription.customer_id)
    with transaction.atomic():
        stored = _taken(subscription.pk)
        if stored.term_requests.filter(state__in=UNDECIDED).exists():
            raise TermsRefused("A change of its terms is asked for already: decide on that request, or cancel it.")
        found = what_if(stored, now=now, **values)
        if not found.shorter:
            raise TermsRefused("Nothing goes sooner by this: it needs no second person, and is changed at once.")
        what = f"{stored.agreement_number} of {stored.customer.code}: {found.words}"
        plain = {one["name"]: one["new"] for one in found.plan["changes"]}
        return two_person.request(
            TermChangeRequest, by=by, what=what[:200], why=why, plan=found.plan, now=now, subscription=stored, changes=plain
        )


def approve(asked: TermChangeRequest, *, by: Any, password: str, now: datetime) -> TermChangeRequest:
    """The approved request: it is made at its `begins_at`. Raises what `two_person.approve` raises."""
    _check_sees(by, asked.subscription.customer_id, "approve")
    return two_person.approve(asked, by=by, password=password, plan=_plan_now(asked), now=now)


def refuse(asked: TermChangeRequest, *, by: Any, why: str, now: datetime) -> TermChangeRequest:
    _check_sees(by, asked.subscription.customer_id, "refuse")
    return two_person.refuse(asked, by=by, why=why, now=now)


def cancel(asked: TermChangeRequest, *, by: Any, why: str, now: datetime) -> TermChangeRequest:
    """Until it is made: an approved one too."""
    _check_sees(by, asked.subscription.customer_id, "cancel")
    return two_person.cancel(asked, by=by, why=why, now=now)


def is_moved(asked: TermChangeRequest) -> bool:
    """Whether the terms are no longer those that the request would change: it is void as soon as somebody acts on it."""
    return two_person.digest_of(_plan_now(asked)) != asked.plan_digest


def finish(approved: TermChangeRequest, *, now: datetime) -> Subscription:
    """The subscription as an approved request has it, when its day has come; once, in the name of who asked.

    Raises `TermsRefused` before that day, `NotAllowed` unless it is approved, `PlanChanged` when the terms are others meanwhile.
    """
    asked = TermChangeRequest.objects.get(pk=approved.pk)
    with audit.acting(actors.of_user(asked.requested_by, reason=asked.why, source=actors.current().source)):
        two_person.check_plan(asked, _plan_now(asked), now)
        if asked.begins_at is not None and now < asked.begins_at:
            raise TermsRefused(f"It was approved, and takes effect on {in_utc(asked.begins_at)}: not before.")
        with transaction.atomic():
            stored = _taken(asked.subscription_id)
            plan = plan_of(stored, asked.changes)
            two_person.executed(asked, plan=plan, now=now)
            _write(stored, plan, approved_by=asked.approved_by)
    return stored


# When their day has come


@dataclass(slots=True)
class Begun:
    """What a look at the open requests came to: their numbers; of those that `failed`, why."""

    made: list[int] = field(default_factory=list)
    void: list[int] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)


def due(now: datetime) -> QuerySet[TermChangeRequest]:
    """The approved requests whose day has come, the longest due first."""
    ripe = TermChangeRequest.objects.filter(state=State.APPROVED.value, approved_at__lte=now - SHORTER_BEGINS_AFTER)
    return ripe.order_by("approved_at", "pk")


def make_due(now: datetime) -> Begun:
    """Makes what is due, each by itself, so that one that fails holds up no other. Safe to run twice and in several processes."""
    found = Begun()
    for asked in due(now):
        try:
            finish(asked, now=now)
            found.made.append(asked.pk)
        except PlanChanged:
            found.void.append(asked.pk)
        except NotAllowed:
            continue  # cancelled, or made by another process, since we looked
        except (AuditError, ValidationError, IntegrityError) as problem:
            found.failed[asked.pk] = str(problem)
    return found


# Parts of the above


def _plan_now(asked: TermChangeRequest) -> dict[str, Any]:
    return plan_of(Subscription.objects.get(pk=asked.subscription_id), asked.changes)


def _taken(key: int) -> Subscription:
    return Subscription.objects.select_for_update().get(pk=key)


def _write(stored: Subscription, plan: dict[str, Any], *, approved_by: Any) -> None:
    new = {one["name"]: one["new"] for one in plan["changes"]}
    for name, value in new.items():
        setattr(stored, name, Subscription._meta.get_field(name).to_python(value))
    stored.save_terms()
    facts: dict[str, str | None] = {FACTS[name]: value_in_words(name, value) for name, value in new.items()}
    facts["approved_by"] = approved_by.get_username() if approved_by else None
    record(Event.TERMS_CHANGED, subject=stored, customer=stored.customer_id, facts=facts)


def _check_may(by: Any, customer: uuid.UUID) -> None:
    if not by.has_perm(CHANGES_TERMS):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not change agreed terms: it needs the right {CHANGES_TERMS}.")
    _check_sees(by, customer, "change")


def _check_sees(by: Any, customer: uuid.UUID, verb: str) -> None:
    if not Customer.objects.visible_to(by).filter(pk=customer).exists():
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not {verb} this: it is not a customer of theirs.")
