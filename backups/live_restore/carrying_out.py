"""Carrying out an approved live restore: by one process at a time, all or nothing, and never a customer frozen for ever.

The queue delivers at least once and may lose: an attempt begins with a guarded update that one process wins. What the process holds (the
customer's lease, the freeze) is given back whatever happens; if it died, `recover` gives it back at the next look.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError, transaction
from django.db.models import Q

from audit import actors, events, freezes, two_person
from audit.errors import AuditError, Frozen
from audit.events import Event
from audit.models import Stream
from audit.moments import in_utc_to_the_second
from audit.states import NotAllowed, State
from audit.two_person import PlanChanged
from backups.errors import BackupError, Busy, LeaseLost
from backups.leases import Held, holding, lease_name, process_name
from backups.live_restore import applying, files
from backups.live_restore.plans import Plan
from backups.live_restore.requests import check_restorable, planned, waiting
from backups.models import LiveRestore, LiveRestoreRequest
from backups.runs import interrupted
from backups.vault import Vault

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
# A message that the queue lost is sent again after this.
QUEUED_FOR = timedelta(minutes=5)
TOLD_EVERY = 1.0
# What another time may bring.
PASSING: tuple[type[Exception], ...] = (Busy, LeaseLost, OperationalError, InterfaceError, Frozen)

Progress = Callable[[str], None]


def carry_out(vault: Vault, request_id: int, *, progress: Progress = lambda _: None) -> LiveRestore | None:
    """One attempt; the row as it stands after it, None when it was not to be begun (another process is at it, or nothing waits).

    Raises nothing that the data, a location or the database can cause: it is recorded with the row.
    """
    attempt = _begin(vault, request_id, progress)
    if attempt is None:
        return None
    with actors.acting(_actor(attempt.asked)):
        try:
            with ExitStack() as given_back:
                _restore(vault, attempt, given_back)
        except PlanChanged as moved:
            attempt.ended(LiveRestore.State.MOVED, moved, vault.clock())
        except PASSING as problem:
            state = LiveRestore.State.WAITING if attempt.row.attempts < MAX_ATTEMPTS else LiveRestore.State.FAILED
            attempt.ended(state, problem, vault.clock())
        except Exception as problem:
            if not isinstance(problem, BackupError | AuditError):
                logger.exception("Live restore %s failed", request_id)
            attempt.ended(LiveRestore.State.FAILED, problem, vault.clock())
    return LiveRestore.objects.select_related("request").get(pk=request_id)


def recover(now: datetime) -> int:
    """Thaws what a process that died in the middle left frozen, and lets it be tried again; returns how many. And an approved request that
    nobody waits for, because the process died right after the approval, is waited for."""
    recovered = 0
    for row in LiveRestore.objects.filter(state=LiveRestore.State.RUNNING).select_related("request__customer"):
        if interrupted(row, now):
            _thaw_what_is_left(row.request)
            recovered += _Attempt(row, lambda _: None).again(now, "The process at work on it died, or lost its lease.")
    for asked in LiveRestoreRequest.objects.filter(state=State.APPROVED.value, carrying_out=None):
        waiting(asked)
    return recovered


def unqueued(now: datetime) -> list[int]:
    """The ids of those that wait and have no message in the queue, as far as we know."""
    lost = Q(queued_at=None) | Q(queued_at__lte=now - QUEUED_FOR)
    return list(LiveRestore.objects.filter(lost, state=LiveRestore.State.WAITING).values_list("pk", flat=True))


def freeze_reason(asked: LiveRestoreRequest) -> str:
    """What is told to whoever cannot write meanwhile; tells our freeze from every other."""
    return f"the state of {in_utc_to_the_second(asked.state_at)} is being restored (live restore {asked.pk})"


@dataclass(slots=True)
class _Attempt:
    """One attempt, begun: only it may record what came of it."""

    row: LiveRestore
    progress: Progress
    lease: Held | None = None
    told_at: float = field(default=0.0)

    @property
    def asked(self) -> LiveRestoreRequest:
        return self.row.request

    def record(self, **values: Any) -> bool:
        """Whether this attempt is still the one."""
        mine = LiveRestore.objects.filter(pk=self.row.pk, state=LiveRestore.State.RUNNING, attempts=self.row.attempts)
        return bool(mine.update(**values))

    def tell(self, line: str, now: datetime) -> None:
        """Shows how far it is, and renews the lease; not inside of the one transaction."""
        if time.monotonic() - self.told_at < TOLD_EVERY:
            return
        self.told_at = time.monotonic()
        if self.lease is not None:
            self.lease.keep()
        self.progress(line)
        if not self.record(progress=line[:200], progress_at=now):
            raise LeaseLost("Another process carries this restore out by now.")

    def step(self, line: str, now: datetime) -> None:
        self.told_at = 0.0
        self.tell(line, now)

    def ended(self, state: str, problem: Exception, now: datetime) -> None:
        with transaction.atomic():
            if self.record(state=state, ended_at=now, queued_at=None, trouble=_words(problem), progress=""):
                facts = {"request": self.asked.pk, "attempt": self.row.attempts, "why": type(problem).__name__}
                events.record(Event.RESTORE_ENDED, subject=self.asked, customer=self.asked.customer_id, facts=facts)

    def again(self, now: datetime, trouble: str) -> bool:
        """For an attempt whose process is gone."""
        open_still = self.row.attempts < MAX_ATTEMPTS and self.asked.state == State.APPROVED
        state = LiveRestore.State.WAITING if open_still else LiveRestore.State.FAILED
        return self.record(state=state, ended_at=now, queued_at=None, trouble=trouble, progress="")


def _begin(vault: Vault, request_id: int, progress: Progress) -> _Attempt | None:
    row = LiveRestore.objects.select_related("request__customer", "request__requested_by", "request__approved_by").get(pk=request_id)
    begun = {"attempts": row.attempts + 1, "started_at": vault.clock(), "holder": process_name()}
    seen = LiveRestore.objects.filter(pk=row.pk, state=LiveRestore.State.WAITING, attempts=row.attempts)
    if not seen.update(state=LiveRestore.State.RUNNING, frozen_at=None, ended_at=None, progress="", trouble="", **begun):
        return None
    for name, value in begun.items():
        setattr(row, name, value)
    return _Attempt(row, progress)


def _restore(vault: Vault, attempt: _Attempt, given_back: ExitStack) -> None:
    asked = attempt.asked
    if asked.state != State.APPROVED:
        raise NotAllowed(f"The request is {asked.state}: nothing was restored.")
    attempt.lease = given_back.enter_context(
        holding(lease_name(asked.customer_id), doing="restoring into the live tables", clock=vault.clock)
    )
    frozen = _freeze(vault, attempt, given_back)
    attempt.step("comparing", vault.clock())
    with planned(vault, asked) as plan:
        two_person.check_plan(asked, plan.document, vault.clock())
        if plan.obstacles:
            check_restorable(plan)
        put_back = files.put_all_back(plan.source, plan.files, vault.spool, lambda line: attempt.tell(line, vault.clock()))
    added, changed, removed = plan.totals
    attempt.step(f"writing: {added} rows to add, {changed} to change, {removed} to remove", vault.clock())
    _write(vault, attempt, frozen, plan, put_back)


def _freeze(vault: Vault, attempt: _Attempt, given_back: ExitStack) -> Stream:
    """From here on nobody else writes, and whatever was committed is seen by the comparison."""
    asked = attempt.asked
    attempt.step("waiting for those who write", vault.clock())
    with transaction.atomic():
        frozen = freezes.freeze_free(asked.customer_id, reason=freeze_reason(asked))
        attempt.record(frozen_at=frozen.frozen_at)
        facts = {"request": asked.pk, "attempt": attempt.row.attempts}
        events.record(Event.RESTORE_BEGUN, subject=asked, customer=asked.customer_id, facts=facts)
    given_back.callback(freezes.thaw_same, frozen)
    return frozen


def _write(vault: Vault, attempt: _Attempt, frozen: Stream, plan: Plan, put_back: int) -> None:
    """The one transaction: rows, read-back, thaw, and the request executed."""
    asked = attempt.asked
    with freezes.writing_through(frozen):
        _take_request(asked)
        applying.apply(plan, attempt.progress)
        applying.read_back(plan)
        freezes.thaw_same(frozen)
        now = vault.clock()
        done = {"counts": plan.counts, "files": put_back, "ended_at": now, "progress": "", "trouble": ""}
        if not attempt.record(state=LiveRestore.State.DONE, **done):
            raise LeaseLost("Another process carries this restore out by now.")
        two_person.executed(asked, plan=plan.document, now=now)
        added, changed, removed = plan.totals
        facts = {
            "request": asked.pk,
            "attempt": attempt.row.attempts,
            "set": str(plan.source.set_id) if plan.source.set_id else None,
            "plan": asked.plan_digest,
            "added": added,
            "changed": changed,
            "removed": removed,
            "files": put_back,
        }
        events.record(Event.RESTORED, subject=asked, customer=asked.customer_id, facts=facts)


def _take_request(asked: LiveRestoreRequest) -> None:
    """Whoever cancels waits for us from here on, or was faster."""
    row = LiveRestoreRequest._base_manager.select_for_update().get(pk=asked.pk)
    if row.state != State.APPROVED:
        raise NotAllowed(f"The request is {row.state}: nothing was restored.")


def _thaw_what_is_left(asked: LiveRestoreRequest) -> None:
    stream = Stream.objects.get(pk=asked.customer_id)
    if stream.frozen_reason == freeze_reason(asked)[:200]:
        freezes.thaw_same(stream)


def _actor(asked: LiveRestoreRequest) -> actors.Acting:
    """Who approved it acts, for who asked; both stand in the history of every row."""
    approver = asked.approved_by
    name = approver.get_username() if approver is not None else "nobody"
    return actors.Acting(
        name=f"{name}, asked by {asked.requested_by.get_username()}",
        user_id=str(approver.pk) if approver is not None else None,
        reason=f"restored to the state of {in_utc_to_the_second(asked.state_at)} (live restore {asked.pk}): {asked.why}",
        source=f"live-restore:{asked.pk}",
    )


def _words(problem: Exception) -> str:
    """What is kept of it. The database's own words quote values, unless they are about locks and connections."""
    if isinstance(problem, DatabaseError) and not isinstance(problem, OperationalError):
        return f"The database refused it ({type(problem).__name__}); the log says what."
    text = str(problem) or type(problem).__name__
    return (text if isinstance(problem, BackupError | AuditError | OSError) else f"{type(problem).__name__}: {text}")[:1000]
