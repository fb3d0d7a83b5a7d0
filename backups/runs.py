"""The verbs of runs: what is owed is written down, worked off, tried again, stopped, paused (P1; design section 10).

The queue delivers at least once and may lose, so nothing here trusts it: each verb may run twice, or in two processes at once. An
attempt begins with one guarded update that one process wins, and ends with one that only the same attempt can make: a process that
slept past its lease records nothing. Storage work happens in between, outside any transaction. One customer's failure is recorded and
stops no other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet

from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from backups import nights, policies
from backups.errors import BackupError, Busy, LeaseLost
from backups.leases import LENGTH, holder_is_gone, lease_name, process_name
from backups.models import Act, BackupPolicy, BackupSet, Lease, Run
from backups.nightly import back_up, catch_up
from backups.nights import NightReport, Owner
from backups.policy import Policy
from backups.states import UNFILLED, NotAllowed, check_transition
from backups.vault import Vault
from subscriptions.models import Customer

logger = logging.getLogger(__name__)

State = Run.State
BUSY_WAIT = timedelta(minutes=1)
# A process that gave its lease back has this long to record what came of it.
GRACE = timedelta(seconds=30)
BATCH = 500
# A message that the queue lost, or that a killed process had taken, is sent again after this; a run delivered twice is worked off once.
QUEUED_FOR = timedelta(minutes=5)


class RunStopped(BackupError):
    """A person stopped the run."""


class RunRefused(BackupError):
    """The run's state does not allow that; the message says what it is."""


# What is owed


def owe_nights(now: datetime) -> int:
    """Writes down each night that has begun and is owed to a stream, and which older ones can be filled no more; returns how many."""
    versions = policies.versions()
    current = nights.current_night(versions, now).label
    known = set(Run.objects.filter(kind=Run.Kind.BACKUP, night=current).values_list("stream_id", flat=True))
    owners = {stream: owner for stream, owner in _owners(versions).items() if stream not in known}
    newest = dict(
        Run.objects.filter(stream__in=owners).values_list("stream_id").annotate(newest=Max("night")) if len(owners) < BATCH else _newest()
    )
    pauses = _pauses(now)
    rows = [
        _row(stream, night, pauses.get(stream))
        for stream, owner in owners.items()
        for night in nights.nights_owed(owner, versions, now, after=newest.get(stream))
    ]
    Run.objects.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)
    _resume_in_time(now)
    _close_missed(now)
    return len(rows)


def _newest() -> QuerySet[Any, Any]:
    return Run.objects.order_by().values_list("stream_id").annotate(newest=Max("night"))


def _owners(versions: list[Policy]) -> dict[Any, Owner]:
    """To whom nights are owed: customers from their first to their last day, and the system stream since there is a policy."""
    began = min(one.in_force_from for one in versions)
    found = {SYSTEM_STREAM: Owner(began)}
    dated = Customer.objects.order_by().annotate(
        first=Min("subscriptions__start"),
        last=Max("subscriptions__end"),
        open_ended=Count("subscriptions", filter=Q(subscriptions__end=None)),
        agreed=Count("subscriptions"),
    )
    for pk, created_at, first, last, open_ended, agreed in dated.values_list("pk", "created_at", "first", "last", "open_ended", "agreed"):
        found[pk] = Owner(max(created_at, began), first, last if agreed and not open_ended else None)
    return found


def _row(stream: Any, night: nights.Night, pause: Run | None) -> Run:
    row = Run(
        stream_id=stream,
        night=night.label,
        policy=night.policy.number,
        due_at=night.due_at,
        ends_at=night.ends_at,
        next_try_at=night.due_at,
    )
    if pause is not None and nights.pause_covers(pause.paused_until, night.due_at):
        row.state, row.paused_until = State.PAUSED, pause.paused_until
        row.paused_by, row.paused_reason = pause.paused_by, pause.paused_reason
    return row


def _pauses(now: datetime) -> dict[Any, Run]:
    return {run.stream_id: run for run in Run.objects.filter(state=State.PAUSED, paused_until__gt=now).order_by("night")}


def _resume_in_time(now: datetime) -> None:
    """A pause ends by itself on its date. Nights that passed meanwhile stay paused: no backup of now fills them."""
    newer = Run.objects.filter(stream=OuterRef("stream"), kind=OuterRef("kind"), night__gt=OuterRef("night"), due_at__lte=now)
    over = Run.objects.filter(~Exists(newer), state=State.PAUSED, paused_until__lte=now)
    over.update(state=State.OWED, next_try_at=now, queued_at=None)


def _close_missed(now: datetime) -> None:
    """Only the newest night that is due can still be filled."""
    newer = Run.objects.filter(stream=OuterRef("stream"), kind=OuterRef("kind"), night__gt=OuterRef("night"), due_at__lte=now)
    waiting = Run.objects.filter(state__in=UNFILLED, due_at__lte=now)
    waiting.filter(Exists(newer)).update(state=State.MISSED, ended_at=now, queued_at=None)


# Which run may begin


def due_runs(now: datetime) -> QuerySet[Run]:
    """The runs that may begin now, the longest waiting first; at most one of a stream, none of a stream that is being worked on."""
    at_work = Run.objects.filter(stream=OuterRef("stream"), state=State.RUNNING)
    newer = Run.objects.filter(stream=OuterRef("stream"), kind=OuterRef("kind"), night__gt=OuterRef("night"), due_at__lte=now)
    open_runs = Run.objects.filter(Q(state=State.OWED) | Q(state=State.COMPLETE), next_try_at__lte=now)
    return open_runs.filter(~Exists(at_work), ~Exists(newer)).order_by("next_try_at", "pk")


def unqueued(now: datetime) -> QuerySet[Run]:
    """The due runs for which no message stands in the queue, as far as we know."""
    return due_runs(now).filter(not_queued(now))


def not_queued(now: datetime) -> Q:
    return Q(queued_at=None) | Q(queued_at__lte=now - QUEUED_FOR)


def recover(now: datetime) -> int:
    """Runs whose process died or lost its lease become due again; sets that became protected meanwhile end theirs. Returns how many."""
    recovered = 0
    for run in Run.objects.filter(state=State.RUNNING).select_related("stream"):
        if interrupted(run, now) and _recovered(run, now):
            recovered += 1
            _unqueue_what_shared_its_message(run)
    for run in Run.objects.filter(state=State.COMPLETE, backup_set__protected_at__isnull=False):
        recovered += _pass(run, State.DONE, ended_at=run.backup_set.protected_at)  # type: ignore[union-attr]
    return recovered


def _unqueue_what_shared_its_message(run: Run) -> None:
    """The process that is gone had taken them too, and will not come to them."""
    if run.queued_at is not None:
        Run.objects.filter(state__in=(State.OWED, State.COMPLETE), queued_at=run.queued_at).update(queued_at=None)


def interrupted(run: Run, now: datetime) -> bool:
    """Whether nobody works on a running run any more: its process is gone, or holds the stream's lease no longer."""
    if holder_is_gone(run.holder):
        return True
    if run.started_at is None or run.started_at > now - LENGTH:
        return False  # it may be on its way to the lease
    lease = Lease.objects.filter(name=lease_name(run.stream_id)).first()
    return lease is None or lease.holder != run.holder or lease.expires_at <= now - GRACE


def _recovered(run: Run, now: datetime) -> bool:
    """Due at once the first time; after that a little later, for it may be this customer's data that kills the process."""
    attempt = _Attempt(run, _policy_of(run))
    trouble = "The process at work on it died, or lost its lease."
    if attempt.tries == 1:
        return attempt.record(State.OWED, next_try_at=now, ended_at=now, trouble=trouble)
    return attempt.tried_again(now, trouble, tries=1 if attempt.tries < attempt.policy.max_attempts else None)


# Working off


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One attempt at one run, begun: only it may record what came of it."""

    run: Run
    policy: Policy

    @property
    def tries(self) -> int:
        """Attempts since a person last asked for a new start, this one included."""
        return self.run.attempts - self.run.forgiven

    def record(self, state: str, **values: Any) -> bool:
        """The attempt's end, unless another attempt has begun or a person decided meanwhile; returns whether it was recorded."""
        check_transition(State.RUNNING, state)
        mine = Run.objects.filter(pk=self.run.pk, state=State.RUNNING, attempts=self.run.attempts)
        values = {"queued_at": None, "stop_asked_at": None, "progress": "", **values}
        return bool(mine.update(state=state, **values))

    def told(self, line: str, now: datetime) -> None:
        """Shows how far it is; `RunStopped` when a person asked for that, or when another attempt has begun."""
        mine = Run.objects.filter(pk=self.run.pk, state=State.RUNNING, attempts=self.run.attempts, stop_asked_at=None)
        if not mine.update(progress=line[:200], progress_at=now):
            raise RunStopped("Stopped by a person.")

    def tried_again(self, now: datetime, trouble: str, *, tries: int | None = None) -> bool:
        """Failed: due again after a while, or for good when it was the last attempt allowed."""
        again = nights.next_try(self.policy, tries or self.tries, now)
        values = {"ended_at": now, "trouble": trouble[:500]}
        if again is None:
            return self.record(State.FAILED, **values)
        return self.record(State.OWED, next_try_at=again, **values)


def work_off(vault: Vault, run_id: int) -> Run | None:
    """One attempt at the run: a set, or what a set still lacks. The run as it stands after it; None when it was not to be begun.

    Raises nothing that a customer's data or a location can cause: it is recorded with the run.
    """
    attempt = _begin(run_id, vault.clock())
    if attempt is None:
        return None
    try:
        _fill(vault, attempt)
    except RunStopped as stopped:
        attempt.record(State.STOPPED, ended_at=vault.clock(), trouble=str(stopped))
    except Busy as busy:
        attempt.record(State.OWED, next_try_at=vault.clock() + BUSY_WAIT, trouble=str(busy)[:500])
    except LeaseLost as lost:
        attempt.tried_again(vault.clock(), str(lost))
    except Exception as problem:
        if not isinstance(problem, BackupError):
            logger.exception("Run %s failed", run_id)
        attempt.tried_again(vault.clock(), f"{type(problem).__name__}: {problem}")
    return Run.objects.select_related("stream").get(pk=run_id)


def _begin(run_id: int, now: datetime) -> _Attempt | None:
    """Begins an attempt, counted now. One process wins."""
    run = due_runs(now).filter(pk=run_id).select_related("stream").first()
    if run is None:
        return None
    begun = {"attempts": run.attempts + 1, "started_at": now, "holder": process_name()}
    same = Run.objects.filter(pk=run_id, state=run.state, attempts=run.attempts)
    if not same.update(state=State.RUNNING, ended_at=None, progress="", progress_at=now, stop_asked_at=None, **begun):
        return None
    for name, value in begun.items():
        setattr(run, name, value)
    return _Attempt(run, _policy_of(run))


def _policy_of(run: Run) -> Policy:
    return BackupPolicy.objects.get(number=run.policy).pure


def _fill(vault: Vault, attempt: _Attempt) -> None:
    run = attempt.run
    troubles = catch_up(vault, run.stream) if run.attempts > 1 else {}
    backup_set = standing_set(run) if run.attempts > 1 else None
    if backup_set is None:
        outcome = back_up(
            vault, run.stream, night=run.night, progress=lambda line: attempt.told(line, vault.clock()), policy=attempt.policy.number
        )
        backup_set, troubles = outcome.backup_set, outcome.troubles
    _record_set(attempt, backup_set, "; ".join(f"{name}: {why}" for name, why in troubles.items()), vault.clock())


def standing_set(run: Run) -> BackupSet | None:
    """The set that already stands for the run's night: whole at one location, begun when the run was due or after; the best one."""
    made = BackupSet.objects.filter(stream=run.stream_id, night=run.night, state=BackupSet.State.MADE, complete_at__isnull=False)
    return made.filter(started_at__gte=run.due_at).order_by(F("protected_at").desc(nulls_last=True), "started_at").first()


def _record_set(attempt: _Attempt, backup_set: BackupSet, trouble: str, now: datetime) -> None:
    """The run is done only when its set was read back at every required location."""
    if backup_set.protected_at is None:
        backup_set.refresh_from_db(fields=["complete_at", "protected_at"])  # catching up writes through another instance
    late = nights.is_late(backup_set.started_at, attempt.run.ends_at)
    values = {"backup_set": backup_set, "late": late, "ended_at": now, "trouble": trouble[:500]}
    if backup_set.protected_at is not None:
        attempt.record(State.DONE, **values)
        return
    wait = attempt.policy.retry_after(attempt.tries)
    attempt.record(State.COMPLETE, next_try_at=now + wait, **values | {"trouble": trouble[:500] or "not yet at every required location"})


# What a person does


def retry(run_id: int, now: datetime, *, actor: str, reason: str) -> Run:
    """A failed or stopped run may begin again at once, with all its attempts before it."""
    return _act(run_id, "retry", State.OWED, now, actor=actor, reason=reason, only=(State.FAILED, State.STOPPED), next_try_at=now)


def run_now(run_id: int, now: datetime, *, actor: str, reason: str) -> Run:
    """The run is due at once: before its night's start, before its next try, or after it failed, was stopped or paused."""
    with transaction.atomic():
        run = _locked(run_id)
        if run.state in (State.OWED, State.COMPLETE):
            return _changed(run, "run now", now, actor, reason, next_try_at=now, due_at=min(run.due_at, now))
    return _act(run_id, "run now", State.OWED, now, actor=actor, reason=reason, next_try_at=now, due_at=min(run.due_at, now))


def stop(run_id: int, now: datetime, *, actor: str, reason: str) -> Run:
    """Asks a running run to stop at its next step; one that waits is stopped at once. What it stored is used again."""
    with transaction.atomic():
        run = _locked(run_id)
        if run.state == State.RUNNING:
            return _changed(run, "stop", now, actor, reason, stop_asked_at=now)
    return _act(run_id, "stop", State.STOPPED, now, actor=actor, reason=reason, trouble=f"Stopped by {actor}: {reason}"[:500], ended_at=now)


def pause(run_id: int, now: datetime, *, until: datetime, actor: str, reason: str) -> Run:
    """No backup of that stream until then; the nights that come meanwhile are paused too, and counted as that."""
    if until <= now:
        raise RunRefused("A pause ends in the future.")
    held: dict[str, Any] = {"paused_by": actor, "paused_reason": reason[:500], "paused_until": until}
    return _act(run_id, "pause", State.PAUSED, now, actor=actor, reason=reason, **held)


def resume(run_id: int, now: datetime, *, actor: str, reason: str) -> Run:
    """Ends a pause before its date, for the stream's newest paused night."""
    run = _act(run_id, "resume", State.OWED, now, actor=actor, reason=reason, only=(State.PAUSED,), next_try_at=now, paused_until=now)
    Run.objects.filter(stream=run.stream_id, state=State.PAUSED, paused_until__gt=now).update(paused_until=now)
    return run


def excuse(run_id: int, now: datetime, *, actor: str, reason: str) -> Run:
    """No set is owed for that night after all, such as after the data was returned."""
    return _act(run_id, "excuse", State.EXCUSED, now, actor=actor, reason=reason, ended_at=now)


def _locked(run_id: int) -> Run:
    return Run.objects.select_for_update().get(pk=run_id)


@transaction.atomic
def _act(run_id: int, what: str, state: str, now: datetime, *, actor: str, reason: str, only: Iterable[str] = (), **values: Any) -> Run:
    run = _locked(run_id)
    if only and run.state not in only:
        raise RunRefused(f"The run of {run.night} is {run.state}; '{what}' is for one that is {' or '.join(only)}.")
    try:
        check_transition(run.state, state)
    except NotAllowed as refused:
        raise RunRefused(str(refused)) from None
    return _changed(run, what, now, actor, reason, state=state, queued_at=None, **values)


def _changed(run: Run, what: str, now: datetime, actor: str, reason: str, **values: Any) -> Run:
    if not actor or not reason.strip():
        raise RunRefused("Say who does it, and why.")
    if values.get("state") == State.OWED:
        values["forgiven"] = run.attempts
    for name, value in values.items():
        setattr(run, name, value)
    run.save(update_fields=list(values))
    Act.objects.create(run=run, at=now, what=what, actor=actor, reason=reason[:500])
    return run


def _pass(run: Run, state: str, **values: Any) -> bool:
    """A transition that no attempt and no person makes."""
    check_transition(run.state, state)
    return bool(Run.objects.filter(pk=run.pk, state=run.state, attempts=run.attempts).update(state=state, queued_at=None, **values))


# How a night stands


def night_report(night: date, now: datetime) -> NightReport:
    """The night's runs, counted by what became of them, against the streams to which it was owed."""
    versions = policies.versions()
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night=night)
    counts: dict[str, int] = {}
    for state, late, count in runs.order_by().values_list("state", "late").annotate(count=Count("pk")):
        column = nights.column_of(state, late)
        counts[column] = counts.get(column, 0) + count
    lacking = _without_a_run(night, versions, now)
    counts |= {"unaccounted": len(lacking)} if lacking else {}
    bad = runs.exclude(trouble="").exclude(state=State.DONE).select_related("stream").order_by("stream__name")
    return NightReport(
        night=night,
        owed=sum(counts.values()),
        over=now >= nights.night_called(night, versions).ends_at,
        counts=counts,
        unaccounted=tuple(lacking),
        flawed=runs.filter(state=State.DONE, backup_set__absent_files__gt=0).count(),
        troubles=tuple((run.stream.name, run.trouble) for run in bad[:BATCH]),
    )


def _without_a_run(night: date, versions: list[Policy], now: datetime) -> list[str]:
    """The names of the streams to which the night is owed and for which no run stands."""
    known = set(Run.objects.filter(kind=Run.Kind.BACKUP, night=night).values_list("stream_id", flat=True))
    before = night - nights.DAY
    owing = [
        stream
        for stream, owner in _owners(versions).items()
        if stream not in known and any(one.label == night for one in nights.nights_owed(owner, versions, now, after=before))
    ]
    return list(Stream.objects.filter(pk__in=owing).order_by("name").values_list("name", flat=True))
