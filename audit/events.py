"""The evidence trail: what was done, by whom, when, and to what; one numbered, chained row each (P5, P13, compliance section 4).

It outlives the customers, so it never quotes content: a fact is an id, a count, a digest, the name of a member of staff. An event joins
the transaction of its deed, so that both are committed or neither; all writers of events then wait for each other until the
commit, so `record` stands last in its transaction. What must be told although its deed was rolled back goes through `record_apart`.
"""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Model

from audit import actors, chain, clock, models
from audit.errors import AuditError
from audit.registry import SYSTEM_STREAM

# One word: no sentence, no value of a customer's.
WORD = re.compile(r"[\w.@+:/-]{0,200}")


class NotEvidence(AuditError):
    """A fact that the event may not carry: unknown, or free text."""


class Event(StrEnum):
    """`subject:action`."""

    SIGNED_IN = "session:opened"
    SIGN_IN_FAILED = "session:refused"
    SIGNED_OUT = "session:closed"
    REFUSED = "access:refused"
    RESTORE_BEGUN = "restore:begun"
    RESTORED = "restore:done"
    RESTORE_ENDED = "restore:ended"
    DOWNLOADED = "file:downloaded"
    EXPORTED = "data:exported"
    PERSON_ADDED = "person:added"
    PERSON_CHANGED = "person:changed"
    PASSWORD_SET = "person:password-set"  # noqa: S105  (an event's name)
    GRANT_GIVEN = "grant:given"
    GRANT_ENDED = "grant:ended"
    CUSTOMER_ADDED = "customer:added"
    POLICY_CHANGED = "policy:changed"
    TERMS_CHANGED = "terms:changed"
    RENEWED = "subscription:renewed"
    BACKUP_FAILED = "backup:failed"
    NIGHT_MISSED = "night:missed"
    PROOF_FAILED = "proof:failed"
    SCHEMA_CHANGED = "schema:changed"
    HOT_UNLED = "hot:unled"
    HOT_STOPPED = "hot:stopped"
    TIMELINE_BEGUN = "timeline:begun"
    RECOVERED = "service:recovered"
    RUN_ASKED = "run:asked"
    RUN_HASTENED = "run:hastened"
    RUN_RETRIED = "run:retried"
    RUN_STOPPED = "run:stopped"
    RUN_PAUSED = "run:paused"
    RUN_RESUMED = "run:resumed"
    RUN_EXCUSED = "run:excused"
    HOLD_PLACED = "hold:placed"
    HOLD_POSTPONED = "hold:review-postponed"
    HOLD_RELEASED = "hold:released"
    PRUNE_DECIDED = "prune:decided"
    PRUNED = "prune:done"
    SET_DAMAGED = "set:damaged"
    SET_MENDED = "set:mended"
    OBJECT_LOST = "object:lost"
    LOCATION_CHANGED = "location:changed"
    CLOCK_CLEARED = "clock:cleared"
    PURGED = "content:purged"
    TEST_RESTORED = "test-restore:done"
    TEST_NOT_DONE = "test-restore:not-done"
    TEST_SIGNED_OFF = "test-restore:signed-off"
    FINDING_OPENED = "finding:opened"
    FINDING_TAKEN = "finding:taken"
    FINDING_POSTPONED = "finding:postponed"
    FINDING_CLOSED = "finding:closed"
    KEYS_CHANGED = "keys:changed"
    KEYS_WRAPPED = "keys:wrapped"
    KEYS_REMOVED = "keys:former-removed"
    MASTER_DESTROYED = "keys:master-destroyed"
    KEY_RENEWED = "key:renewed"
    KIT_MADE = "kit:made"
    ESCROW_DRILLED = "escrow:drilled"
    DELETION_REQUESTED = "deletion:requested"
    RETURN_BEGUN = "return:begun"
    RETURN_MADE = "return:made"
    RETURN_FAULT = "return:fault"
    RETURN_WAIVED = "return:waived"
    RETURN_HANDED_OVER = "return:handed-over"
    RETURN_REMINDED = "return:reminded"
    RETURN_OUTSTANDING = "return:outstanding"
    RECEIPT_RECORDED = "receipt:recorded"
    RECEIPT_REFUSED = "receipt:refused"
    DELETION_APPROVED = "deletion:approved"
    DELETION_VOIDED = "deletion:approval-void"
    DELETION_CANCELLED = "deletion:cancelled"
    DESTRUCTION_NEARS = "destruction:nears"
    DESTRUCTION_LATE = "destruction:late"
    DESTRUCTION_BEGUN = "destruction:begun"
    DESTRUCTION_STEP = "destruction:step"
    DESTROYED = "destruction:done"
    DESTRUCTION_REOPENED = "destruction:reopened"
    CERTIFIED = "certificate:issued"
    CONTROL_BROKEN = "control:broken"
    CONTROL_KEPT = "control:kept"
    ALARM_TOLD = "alarm:told"
    DIGEST_SENT = "digest:sent"
    ANCHORED = "anchor:sent"
    PACK_ASKED = "pack:asked"
    PACK_MADE = "pack:made"
    PACK_FETCHED = "pack:fetched"
    ACCESS_REVIEWED = "access:reviewed"
    ACCESS_ATTESTED = "access:attested"
    CUSTOMERS_RECONCILED = "customers:reconciled"
    CUSTOMER_HANDED_OVER = "customer:handed-over"
    STATEMENT_MADE = "statement:made"
    REPORT_MADE = "report:made"
    REQUESTED = "request:made"
    APPROVED = "request:approved"
    REQUEST_REFUSED = "request:refused"
    CANCELLED = "request:cancelled"
    VOIDED = "request:voided"
    EXECUTED = "request:executed"
    APPROVAL_FAILED = "approval:failed"


_OF_REQUESTS = frozenset({"kind", "plan"})
_OF_RESTORES = frozenset({"request", "attempt"})
_OF_RUNS = frozenset({"night", "run", "until"})
# Every fact that an event may carry.
FACTS: dict[Event, frozenset[str]] = {
    Event.SIGNED_IN: frozenset({"address"}),
    Event.SIGN_IN_FAILED: frozenset({"person", "address"}),
    Event.SIGNED_OUT: frozenset({"address"}),
    Event.REFUSED: frozenset({"view", "method", "object", "address"}),
    Event.DOWNLOADED: frozenset({"field", "version", "bytes"}),
    Event.EXPORTED: frozenset({"sha256", "rows", "files", "bytes", "set"}),
    Event.RESTORE_BEGUN: _OF_RESTORES,
    Event.RESTORED: _OF_RESTORES | {"set", "plan", "added", "changed", "removed", "files"},
    Event.RESTORE_ENDED: _OF_RESTORES | {"why"},
    Event.PERSON_ADDED: frozenset({"person"}),
    Event.PERSON_CHANGED: frozenset({"person", "active", "superuser"}),
    Event.PASSWORD_SET: frozenset({"person"}),
    Event.GRANT_GIVEN: frozenset({"person", "role", "since", "until"}),
    Event.GRANT_ENDED: frozenset({"person", "role", "expired"}),
    Event.CUSTOMER_ADDED: frozenset({"code"}),
    Event.POLICY_CHANGED: frozenset({"version", "approved_by"}),
    Event.TERMS_CHANGED: frozenset({"end", "years", "days", "approved_by"}),
    Event.RENEWED: frozenset({"before", "start", "end", "years", "days"}),
    Event.BACKUP_FAILED: frozenset({"night", "run", "set", "attempts", "error"}),
    Event.NIGHT_MISSED: frozenset({"night", "run"}),
    Event.PROOF_FAILED: frozenset({"night", "set", "altered", "unknown", "back", "gone", "chain"}),
    Event.SCHEMA_CHANGED: frozenset({"version", "digest", "migrations", "rows", "left", "lost", "without_sets", "watched"}),
    Event.HOT_UNLED: frozenset({"seconds", "segment"}),
    Event.HOT_STOPPED: frozenset({"segment"}),
    Event.TIMELINE_BEGUN: frozenset({"timeline", "forks"}),
    Event.RECOVERED: frozenset({"location", "back", "ended", "not_back", "seconds", "stopped"}),
    Event.RUN_ASKED: _OF_RUNS,
    Event.RUN_HASTENED: _OF_RUNS,
    Event.RUN_RETRIED: _OF_RUNS,
    Event.RUN_STOPPED: _OF_RUNS,
    Event.RUN_PAUSED: _OF_RUNS,
    Event.RUN_RESUMED: _OF_RUNS,
    Event.RUN_EXCUSED: _OF_RUNS,
    Event.HOLD_PLACED: frozenset({"review"}),
    Event.HOLD_POSTPONED: frozenset({"review"}),
    Event.HOLD_RELEASED: frozenset({"approved_by"}),
    Event.PRUNE_DECIDED: frozenset({"sets", "policy", "version"}),
    Event.PRUNED: frozenset({"sets", "objects", "bytes"}),
    Event.SET_DAMAGED: frozenset({"set"}),
    Event.SET_MENDED: frozenset({"set"}),
    Event.OBJECT_LOST: frozenset({"location", "object"}),
    Event.LOCATION_CHANGED: frozenset({"location", "days", "bytes", "price"}),
    Event.CLOCK_CLEARED: frozenset({"until", "doubts"}),
    Event.PURGED: frozenset({"purge", "items", "history", "files", "bytes"}),
    Event.TEST_RESTORED: frozenset({"set", "tier", "location", "result", "sha256"}),
    Event.TEST_NOT_DONE: frozenset({"tier", "location", "why"}),
    Event.TEST_SIGNED_OFF: frozenset({"test", "result"}),
    Event.FINDING_OPENED: frozenset({"kind", "due"}),
    Event.FINDING_TAKEN: frozenset({"owner"}),
    Event.FINDING_POSTPONED: frozenset({"due"}),
    Event.FINDING_CLOSED: frozenset({"kind"}),
    Event.KEYS_CHANGED: frozenset({"deed", "wrapping", "recipient", "recipients", "approved_by"}),
    Event.KEYS_WRAPPED: frozenset({"wrapping", "keys", "left"}),
    Event.KEYS_REMOVED: frozenset({"wrapping", "objects", "left"}),
    Event.MASTER_DESTROYED: frozenset({"files", "wrapping"}),
    Event.KEY_RENEWED: frozenset({"number", "wrapping"}),
    Event.KIT_MADE: frozenset({"wrapping", "escrow"}),
    Event.ESCROW_DRILLED: frozenset({"recipient", "result", "keys", "opened", "objects", "failed", "missing"}),
    Event.DELETION_REQUESTED: frozenset({"end"}),
    Event.RETURN_BEGUN: frozenset({"number"}),
    Event.RETURN_MADE: frozenset({"number", "set", "sha256", "bytes"}),
    Event.RETURN_FAULT: frozenset({"number"}),
    Event.RETURN_WAIVED: frozenset({"document"}),
    Event.RETURN_HANDED_OVER: frozenset({"number", "sha256", "bytes", "way"}),
    Event.RETURN_REMINDED: frozenset({"number", "day", "addresses"}),
    Event.RETURN_OUTSTANDING: frozenset({"number", "day"}),
    Event.RECEIPT_RECORDED: frozenset({"number", "kind", "sha256", "notice"}),
    Event.RECEIPT_REFUSED: frozenset({"number", "why"}),
    Event.DELETION_APPROVED: frozenset({"plan", "begins", "due"}),
    Event.DELETION_VOIDED: frozenset({"plan", "reasons"}),
    Event.DELETION_CANCELLED: frozenset({"state"}),
    Event.DESTRUCTION_NEARS: frozenset({"day", "due"}),
    Event.DESTRUCTION_LATE: frozenset({"due"}),
    Event.DESTRUCTION_BEGUN: frozenset({"plan"}),
    Event.DESTRUCTION_STEP: frozenset({"step", "location", "objects", "bytes", "left"}),
    Event.DESTROYED: frozenset({"plan"}),
    Event.DESTRUCTION_REOPENED: frozenset({"location", "objects"}),
    Event.CERTIFIED: frozenset({"kind", "number", "sha256"}),
    Event.CONTROL_BROKEN: frozenset({"control", "value"}),
    Event.CONTROL_KEPT: frozenset({"control", "value", "seconds"}),
    Event.ALARM_TOLD: frozenset({"alarms", "ended", "way"}),
    Event.DIGEST_SENT: frozenset({"day", "addresses"}),
    Event.ANCHORED: frozenset({"day", "root", "addresses"}),
    Event.PACK_ASKED: frozenset({"first", "last", "seed"}),
    Event.PACK_MADE: frozenset({"first", "last", "sha256", "bytes", "unreconciled"}),
    Event.PACK_FETCHED: frozenset({"sha256", "bytes"}),
    Event.ACCESS_REVIEWED: frozenset({"quarter", "sha256", "people"}),
    Event.ACCESS_ATTESTED: frozenset({"quarter", "about", "location"}),
    Event.CUSTOMERS_RECONCILED: frozenset({"sha256", "billed", "ours", "matched", "differ"}),
    Event.CUSTOMER_HANDED_OVER: frozenset({"from", "to"}),
    Event.STATEMENT_MADE: frozenset({"kind", "sha256"}),
    Event.REPORT_MADE: frozenset({"kind", "first", "last", "sha256", "rows"}),
    Event.REQUESTED: _OF_REQUESTS,
    Event.APPROVED: _OF_REQUESTS,
    Event.REQUEST_REFUSED: _OF_REQUESTS,
    Event.CANCELLED: _OF_REQUESTS,
    Event.VOIDED: _OF_REQUESTS | {"found"},
    Event.EXECUTED: _OF_REQUESTS,
    Event.APPROVAL_FAILED: _OF_REQUESTS | {"why"},
}


def record(
    event: Event, *, subject: Model | str = "", customer: uuid.UUID | None = None, facts: Mapping[str, Any] | None = None
) -> models.Event:
    """The event as the next row of the chain, in the transaction under way or one of its own. Stands inside `audit.acting(...)`.

    Raises `NotEvidence` for a fact that the event may not carry, `NoActor`, and `Frozen` while the whole service is being restored.
    """
    facts, who = _checked(event, facts or {}), actors.current()
    alias = router.db_for_write(models.Event)
    with transaction.atomic(using=alias), actors.acting(replace(who, reason="")):  # a reason is free text
        before = _take_head(alias)
        row = models.Event(  # type: ignore[misc]
            number=before.number + 1,
            event=event.value,
            at=clock.database_now(alias),
            actor=who.name[:200],
            actor_id=who.user_id or "",
            source=who.source[:100],
            subject=name_of(subject),
            customer=customer,
            facts=facts,
            salt=secrets.token_hex(chain.SALT_BYTES),
        )
        row.leaf = row.leaf_now()
        row.digest = chain.following(before, row.leaf).digest
        row.save(using=alias)
    return row


def _take_head(alias: str) -> chain.Head:
    """The chain's head, after every other writer of events is done: each takes the stream's row. (Tracked writers only share it: with
    FOR UPDATE two of them that record an event would wait for each other for ever.)"""
    models.Stream.objects.using(alias).select_for_update(no_key=True).get(pk=SYSTEM_STREAM)
    newest = models.Event.objects.using(alias).order_by("-number").values_list("number", "digest").first()
    return chain.Head(*newest) if newest else chain.START


def _checked(event: Event, facts: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := facts.keys() - FACTS[event]:
        raise NotEvidence(f"{event.value} carries no {', '.join(sorted(unknown))}: name it in audit.events.FACTS.")
    for name, value in facts.items():
        if not (value is None or isinstance(value, int) or (isinstance(value, str) and WORD.fullmatch(value))):
            raise NotEvidence(f"{event.value}: {name} is no id, count or digest.")
    return {name: value for name, value in sorted(facts.items()) if value is not None}


def name_of(subject: Model | str) -> str:
    """A row as `app.model:key`; a name as it is. `NotEvidence` for what is no word."""
    name = subject if isinstance(subject, str) else f"{subject._meta.label_lower}:{subject.pk}"
    if not WORD.fullmatch(name):
        raise NotEvidence("The subject of an event is a row, or its name in one word.")
    return name


_waiting: ContextVar[list[Callable[[], Any]] | None] = ContextVar("l2l_events_apart", default=None)


def record_apart(event: Event, *, facts: Mapping[str, Any] | None = None, **about: Any) -> None:
    """As `record`, but the event stays when the caller's transaction is rolled back: inside `apart()` it is written after its end."""
    write = partial(_record_as, actors.current(), event, facts=_checked(event, facts or {}), **about)
    waiting = _waiting.get()
    if waiting is not None and connections[router.db_for_write(models.Event)].in_atomic_block:
        waiting.append(write)  # a second connection would wait for this one's lock on SQLite
    else:
        write()


def _record_as(who: actors.Acting, event: Event, **about: Any) -> None:
    with actors.acting(who):
        record(event, **about)


@contextmanager
def apart() -> Iterator[None]:
    """Stands around a whole request or command, outside of every transaction: here `record_apart` is written, whatever was rolled back."""
    token = _waiting.set([])
    try:
        yield
    finally:
        waiting = _waiting.get() or []
        _waiting.reset(token)
        _hand_on(waiting)


def _hand_on(waiting: list[Callable[[], Any]]) -> None:
    outer = _waiting.get()
    if outer is not None:  # a command inside of a request
        outer.extend(waiting)
        return
    for write in waiting:
        write()
