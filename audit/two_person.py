"""What one person alone must not do: one asks, another approves, and only exactly what was asked for is done (P5).

Never here: an approval by the one who asked (the database refuses it too), by someone whose right is younger than a day, without the
password given again, or of anything else than was asked for. The request keeps the digest of its plan; the plan is made anew for the
approval and once more for the deed, and when its digest differs the request is void and must be made again.

    class Change(TwoPersonRequest):
        class Meta(TwoPersonRequest.Meta): ...

    asked = request(Change, by=olga, what="keep 60 nights", why="...", plan=plan(), now=now)
    asked = approve(asked, by=bo, password="...", plan=plan(), now=now)
    check_plan(asked, plan(), now)
    with transaction.atomic(): executed(asked, plan=plan(), now=now); ...the deed...
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.conf import settings
from django.db import models, transaction

import audit
from audit import actors, canonical, clock, events, grants
from audit.errors import AuditError, NoActor
from audit.events import Event
from audit.models import Event as Recorded
from audit.states import State, check_transition
from audit.tracked import TrackedModel

MOST_FAILURES = 5
FAILURES_COUNT_FOR = timedelta(minutes=15)
PASSWORD, LOCKED, SAME_PERSON, NOT_ENTITLED = "password", "locked", "same-person", "not-entitled"


class ApprovalRefused(AuditError):
    """This person cannot approve this, or not now. `why` is one word."""

    def __init__(self, why: str, message: str) -> None:
        super().__init__(message)
        self.why = why


class PlanChanged(ApprovalRefused):
    """What was asked for is not what would be done now: the request is void."""

    def __init__(self, message: str = "") -> None:
        void = "What would be done is no longer what was asked for. The request is void: look at it, and ask again."
        super().__init__("plan", message or void)


def _person(**options: Any) -> models.ForeignKey:
    return models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", **options)


class TwoPersonRequest(TrackedModel):
    """One table for each kind; each is protected (`@audit.protect`) and adds the columns that its plan is made from."""

    what = models.CharField(max_length=200)
    why = models.TextField()
    plan_digest = models.CharField(max_length=64, editable=False)
    state = models.CharField(max_length=10, choices=[(state.value, state.value) for state in State], default=State.REQUESTED.value)
    requested_by = _person()
    requested_at = models.DateTimeField()
    approved_by = _person(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    refused_by = _person(null=True, blank=True)
    executed_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="When it was refused, cancelled, or found to be void.")

    class Meta:
        abstract = True
        default_permissions = ("add", "view", "approve")
        constraints = [
            models.CheckConstraint(condition=~models.Q(approved_by=models.F("requested_by")), name="%(app_label)s_%(class)s_two_people"),
            models.CheckConstraint(
                condition=~models.Q(state__in=(State.APPROVED.value, State.EXECUTED.value)) | models.Q(approved_by__isnull=False),
                name="%(app_label)s_%(class)s_approved",
            ),
        ]

    def __str__(self) -> str:
        return self.what

    @classmethod
    def permission(cls, verb: str) -> str:
        """`app.add_kind` for asking, `app.approve_kind` for approving."""
        return f"{cls._meta.app_label}.{verb}_{cls._meta.model_name}"


R = TypeVar("R", bound=TwoPersonRequest)


def digest_of(plan: Any) -> str:
    """SHA-256 of the plan's canonical JSON; `NotCanonical` for what is not JSON."""
    return hashlib.sha256(canonical.dump_bytes(plan)).hexdigest()


def request(kind: type[R], *, by: Any, what: str, why: str, plan: Any, now: datetime, **columns: Any) -> R:
    """The new request. Raises `ApprovalRefused` when this person may not ask for it or does not say why."""
    if not by.has_perm(kind.permission("add")):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not ask for this.")
    if not why.strip():
        raise ApprovalRefused("reason", "Say why.")
    with transaction.atomic(), _acts(by, why):
        asked = kind(what=what, why=why, plan_digest=digest_of(plan), requested_by=by, requested_at=now, **columns)
        asked.full_clean()
        asked.save()
        _record(Event.REQUESTED, asked)
    return asked


def approve(asked: R, *, by: Any, password: str, plan: Any, now: datetime) -> R:
    """The approved request. `plan` is made anew by the caller; `by` gives the password again.

    Raises `ApprovalRefused`, of which an event tells even when the caller rolls back; `PlanChanged`, after the request was made void;
    `NotAllowed` when it is no longer open.
    """
    with _acts(by, asked.why):
        check_person(asked, by, password, now, permission=asked.permission("approve"), others=[asked.requested_by], facts=_facts(asked))
        check_plan(asked, plan, now)
        with transaction.atomic():
            row = _take(asked, State.APPROVED)
            row.approved_by, row.approved_at = by, now
            row.save()
            _record(Event.APPROVED, row)
    return row


def check_person(
    subject: models.Model, by: Any, password: str, now: datetime, *, permission: str, others: Iterable[Any], facts: dict[str, str]
) -> None:
    """`ApprovalRefused`, with an event, unless `by` may be the second person now: is none of those who took part (`others`), gives the
    password again, and has had the right for a day."""
    if _failures(by) >= MOST_FAILURES:
        _refuse_person(subject, facts, LOCKED, f"{by} gave a wrong password {MOST_FAILURES} times: wait a quarter of an hour.")
    if not by.check_password(password):
        _refuse_person(subject, facts, PASSWORD, "That is not your password.")
    if by in others:
        _refuse_person(subject, facts, SAME_PERSON, "Who asked for it cannot approve it: another person must.")
    if why_not := grants.why_not(by, permission, now):
        _refuse_person(subject, facts, NOT_ENTITLED, why_not)


def _failures(by: Any) -> int:
    """How often this person gave a wrong password of late, for any request."""
    since = clock.database_now() - FAILURES_COUNT_FOR
    failed = Recorded.objects.filter(event=Event.APPROVAL_FAILED.value, actor_id=str(by.pk), at__gt=since)
    return sum(one.facts.get("why") == PASSWORD for one in failed)


def _refuse_person(subject: models.Model, facts: dict[str, str], why: str, message: str) -> None:
    events.record_apart(Event.APPROVAL_FAILED, subject=subject, facts={**facts, "why": why})
    raise ApprovalRefused(why, message)


def check_plan(asked: TwoPersonRequest, plan: Any, now: datetime) -> None:
    """`PlanChanged` unless the plan is still what was asked for; the request is void then (so: outside of the deed's transaction)."""
    found = digest_of(plan)
    if found == asked.plan_digest:
        return
    with transaction.atomic():
        row = _take(asked, State.VOID)
        row.ended_at = now
        row.save()
        events.record(Event.VOIDED, subject=row, facts={**_facts(row), "found": found})
    raise PlanChanged


def refuse(asked: R, *, by: Any, why: str, now: datetime) -> R:
    """The refused request. Whoever may approve it may refuse it at any age of their right; who asked cancels instead."""
    if by == asked.requested_by or not by.has_perm(asked.permission("approve")):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not refuse this.")
    with transaction.atomic(), _acts(by, why):
        row = _take(asked, State.REFUSED)
        row.refused_by, row.ended_at = by, now
        row.save()
        _record(Event.REQUEST_REFUSED, row)
    return row


def cancel(asked: R, *, by: Any, why: str, now: datetime) -> R:
    """The cancelled request, open or approved: by who asked, or who may approve. One person is enough to stop something."""
    if by != asked.requested_by and not by.has_perm(asked.permission("approve")):
        raise ApprovalRefused(NOT_ENTITLED, f"{by} may not cancel this.")
    with transaction.atomic(), _acts(by, why):
        row = _take(asked, State.CANCELLED)
        row.ended_at = now
        row.save()
        _record(Event.CANCELLED, row)
    return row


def executed(asked: R, *, plan: Any, now: datetime) -> R:
    """The request with its deed done: stands in the deed's transaction, before the deed. Inside `audit.acting(...)`.

    Raises `NotAllowed` unless it is approved, and `PlanChanged` when the plan moved since `check_plan`.
    """
    if digest_of(plan) != asked.plan_digest:
        raise PlanChanged
    with transaction.atomic():
        row = _take(asked, State.EXECUTED)
        row.executed_at = now
        row.save()
        _record(Event.EXECUTED, row)
    return row


def _take(asked: R, following: State) -> R:
    """The row as it is stored, locked, and put into the next state; `NotAllowed` when somebody was faster."""
    row = type(asked)._base_manager.select_for_update().get(pk=asked.pk)
    check_transition(row.state, following)
    row.state = following.value
    return row


def _record(event: Event, asked: TwoPersonRequest) -> None:
    events.record(event, subject=asked, facts=_facts(asked))


def _facts(asked: TwoPersonRequest) -> dict[str, str]:
    return {"kind": asked._meta.label_lower, "plan": asked.plan_digest}


@contextmanager
def _acts(by: Any, reason: str) -> Iterator[None]:
    """This person acts, through what is acting now."""
    try:
        source = actors.current().source
    except NoActor:
        source = ""
    with audit.acting(actors.of_user(by, reason=reason, source=source)):
        yield
