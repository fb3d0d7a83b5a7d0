"""Findings: what is not as promised is opened once, taken by an owner, and closed with its cause and what was done (P13, CC7).

The machine opens them, and closes those that it mended itself; people take, postpone and close. Nothing deletes one. Everything here stands
inside `audit.acting(...)`, and each step is an event.
"""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils.timezone import localdate

import audit
from audit import actors
from audit.errors import AuditError
from audit.events import Event, name_of, record
from audit.models import Finding, Stream
from audit.moments import in_utc
from audit.registry import SYSTEM_STREAM

CHANGES = "l2l_audit.change_finding"


class Kind(StrEnum):
    """The word that is stored."""

    OBJECT_DAMAGED = "object-damaged"
    OBJECTS_UNKNOWN = "objects-unknown"
    LEFTOVERS_STAY = "leftovers-stay"
    VERIFICATION_LATE = "verification-late"
    TEST_RESTORE_FAILED = "test-restore-failed"
    NOT_RECOVERED = "not-recovered"
    SCHEMA_UNRECORDED = "schema-unrecorded"
    KEY_MISSING = "key-missing"
    ESCROW_DRILL = "escrow-drill"
    RECEIPT_OUTSTANDING = "receipt-outstanding"
    DESTRUCTION_LATE = "destruction-late"
    FOUND_AFTER_DESTRUCTION = "found-after-destruction"
    CONTROL_BROKEN = "control-broken"
    CUSTOMERS_DIFFER = "customers-differ"
    ACCESS_UNREVIEWED = "access-unreviewed"


LABELS = {
    Kind.OBJECT_DAMAGED: "stored object damaged",
    Kind.OBJECTS_UNKNOWN: "unknown objects at a location",
    Kind.LEFTOVERS_STAY: "leftovers that cannot be removed",
    Kind.VERIFICATION_LATE: "verification is behind",
    Kind.TEST_RESTORE_FAILED: "test restore failed",
    Kind.NOT_RECOVERED: "not recovered whole",
    Kind.SCHEMA_UNRECORDED: "schema was never recorded",
    Kind.KEY_MISSING: "a customer's key is missing",
    Kind.ESCROW_DRILL: "the escrow key did not open what it should",
    Kind.RECEIPT_OUTSTANDING: "receipt of returned data outstanding",
    Kind.DESTRUCTION_LATE: "destruction overdue",
    Kind.FOUND_AFTER_DESTRUCTION: "found after destruction",
    Kind.CONTROL_BROKEN: "a promise was broken",
    Kind.CUSTOMERS_DIFFER: "billing knows other customers than we",
    Kind.ACCESS_UNREVIEWED: "access was not reviewed in its quarter",
}
# Days until it is to be cleared up; what can cost data is sooner.
DUE_DAYS = {
    Kind.OBJECT_DAMAGED: 3,
    Kind.TEST_RESTORE_FAILED: 7,
    Kind.NOT_RECOVERED: 3,
    Kind.KEY_MISSING: 1,
    Kind.ESCROW_DRILL: 1,
    Kind.RECEIPT_OUTSTANDING: 7,
    Kind.DESTRUCTION_LATE: 1,
    Kind.FOUND_AFTER_DESTRUCTION: 1,
    Kind.CONTROL_BROKEN: 3,
    Kind.CUSTOMERS_DIFFER: 3,
}
OTHERS_DUE_DAYS = 14


class FindingRefused(AuditError):
    """This person may not do that with the finding, or it is closed already."""


def open_finding(
    kind: Kind, *, subject: Model | str, customer: uuid.UUID | None, text: str, now: datetime, due_days: int | None = None
) -> Finding:
    """The open finding of that kind and subject: a new one, or the one that is open, with its text and the day on which it was last seen.

    Due after `due_days` days (by kind else). `text` must quote no content."""
    about, days = name_of(subject), DUE_DAYS.get(kind, OTHERS_DUE_DAYS) if due_days is None else due_days
    with transaction.atomic():
        _take_turns()
        found = Finding.objects.filter(kind=kind, subject=about, closed_at=None).first()
        if found is not None:
            return _seen_again(found, text, now)
        finding = Finding(kind=kind.value, subject=about, customer=customer, text=text, opened_at=now, seen_at=now)
        finding.opened_by, finding.due_on = actors.current().name[:200], localdate(now) + timedelta(days=days)
        finding.save()
        record(Event.FINDING_OPENED, subject=finding, customer=customer, facts={"kind": kind.value, "due": finding.due_on.isoformat()})
    return finding


def _seen_again(found: Finding, text: str, now: datetime) -> Finding:
    """Once a day at most, unless there is something else to tell: it may be found every hour."""
    if found.text != text or now - found.seen_at >= timedelta(days=1):
        found.text, found.seen_at = text, max(now, found.seen_at)
        found.save()
    return found


def close_as_mended(kind: Kind, *, subject: Model | str, resolution: str, now: datetime) -> Finding | None:
    """Closes the open one of that kind and subject, for what it told of is as promised again; None when there is none."""
    with transaction.atomic():
        _take_turns()
        found = Finding.objects.filter(kind=kind, subject=name_of(subject), closed_at=None).first()
        return _closed(found, cause="", resolution=resolution, now=now) if found is not None else None


def take(finding: Finding, *, owner: Any, by: Any, now: datetime) -> Finding:
    """The finding with its owner, who may be somebody else than the one who says so. Raises `FindingRefused`."""
    _check_may(by)
    if not (owner.is_active and owner.has_perm(CHANGES)):
        raise FindingRefused(f"{owner} may not close findings, and so cannot own one: choose a backup operator.")
    with transaction.atomic(), audit.because("a new owner"):
        stored = _open(finding)
        stored.owner = owner
        stored.save()
        record(Event.FINDING_TAKEN, subject=stored, customer=stored.customer, facts={"owner": owner.get_username()})
    return stored


def postpone(finding: Finding, *, due_on: date, why: str, by: Any, now: datetime) -> Finding:
    """The finding with another due date. Raises `FindingRefused`."""
    _check_may(by)
    if not why.strip():
        raise FindingRefused("Say why it takes longer.")
    if due_on < localdate(now):
        raise FindingRefused("That day is over: choose today or a later one.")
    with transaction.atomic(), audit.because(why):
        stored = _open(finding)
        stored.due_on = due_on
        stored.save()
        record(Event.FINDING_POSTPONED, subject=stored, customer=stored.customer, facts={"due": due_on.isoformat()})
    return stored


def close(finding: Finding, *, cause: str, resolution: str, by: Any, now: datetime) -> Finding:
    """Closed, with what was the cause and what was done. Raises `FindingRefused`."""
    _check_may(by)
    if not (cause.strip() and resolution.strip()):
        raise FindingRefused("Say what was the cause, and what was done.")
    with transaction.atomic(), audit.because(resolution):
        _take_turns()
        return _closed(_open(finding), cause=cause, resolution=resolution, now=now)


def open_findings() -> QuerySet[Finding]:
    """The soonest due first."""
    return Finding.objects.filter(closed_at=None).order_by("due_on", "pk")


def _closed(finding: Finding, *, cause: str, resolution: str, now: datetime) -> Finding:
    finding.closed_at, finding.closed_by = now, actors.current().name[:200]
    finding.cause, finding.resolution = cause, resolution
    finding.save()
    record(Event.FINDING_CLOSED, subject=finding, customer=finding.customer, facts={"kind": finding.kind})
    return finding


def _check_may(by: Any) -> None:
    if not by.has_perm(CHANGES):
        raise FindingRefused(f"{by} may not decide on findings: it needs the right {CHANGES}.")


def _open(finding: Finding) -> Finding:
    """The row as it is stored, locked."""
    stored = Finding.objects.select_for_update().get(pk=finding.pk)
    if stored.closed_at is not None:
        raise FindingRefused(f"It was closed on {in_utc(stored.closed_at)} by {stored.closed_by}.")
    return stored


def _take_turns() -> None:
    """Two processes that find the same at once open it once."""
    Stream.objects.select_for_update(no_key=True).get(pk=SYSTEM_STREAM)
