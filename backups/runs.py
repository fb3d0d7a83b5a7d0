"""The verbs of runs: what is owed is written down, worked off, tried again (P1; design section 10). What people do is in `run_acts.py`.

The queue delivers at least once and may lose, so nothing here trusts it: each verb may run twice, or in two processes at once. An
attempt begins with one guarded update that one process wins, and ends with one that only the same attempt can make: a process that
slept past its lease records nothing. Storage work happens in between, outside any transaction. One customer's failure is recorded and
stops no other. Everything stands inside `audit.acting(...)`: a night that failed or was missed is an event.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, QuerySet

from audit import events
from audit.events import Event
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from backups import nights, policies
from backups.errors import BackupError, Busy, LeaseLost
from backups.leases import LENGTH, holder_is_gone, lease_name, process_name
from backups.models import BackupPolicy, BackupSet, Lease, LiveRestore, Run
from backups.nightly import back_up, catch_up
from backups.nights import NightReport, Owner
from backups.policy import Policy
from backups.recovery.state import ended
from backups.statements import update
from backups.states import UNFILLED, check_transition
from backups.vault import Vault
from subscriptions.ending import standing
from subscriptions.models import Customer

logger = logging.getLogger(__name__)

State = Run.State
UNFINISHED = (State.OWED, State.RUNNING, State.COMPLETE)
BUSY_WAIT = timedelta(minutes=1)
# A process that gave its lease back has this long to record what came of it.
GRACE = LENGTH / 4
BATCH = 500
# A message that the queue lost, or that a killed process had taken, is sent again after this; a run delivered twice is worked off once.
QUEUED_FOR = timedelta(minutes=5)


class RunStopped(BackupError):
    """A person stopped the run."""


# What is owed


def owe_nights(now: datetime) -> int:
    """Writes down each night that has begun and is owed to a stream, and which older ones can be filled no more; returns how many."""
    versions = policies.versions()
    current = nights.current_night(versions, now).label
    known = set(Run.objects.filter(kind=Run.Kind.BACKUP, night=current).values_list("stream_id", flat=True))
    owners = {stream: owner for stream, owner in _owners(versions).items() if stream not in known}
    newest = dict(_newest().filter(stream__in=owners) if len(owners) < BATCH else _newest())
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
    return Run.objects.filter(kind=Run.Kind.BACKUP).order_by().values_list("stream_id").annotate(newest=Max("night"))


def _owners(versions: list[Policy], customers: QuerySet | None = None) -> dict[Any, Owner]:
    """To whom nights are owed: customers (of these, else all) from their first to their last day, and the system stream since there is a
    policy."""
    began = min(one.in_force_from for one in versions)
    found = {SYSTEM_STREAM: Owner(began)}
    dated = (
        (Customer.objects.all() if customers is None else customers)
        .order_by()
        .annotate(
            first=Min("subscriptions__start"),
            last=Max("subscriptions__end"),
            open_ended=Count("subscriptions", filter=Q(subscriptions__end=None)),
            agreed=Count("subscriptions"),
        )
    )
    for pk, created_at, first, last, open_ended, agreed in dated.values_list("pk", "created_at", "first", "last", "open_ended", "agreed"):
        found[pk] = Owner(max(created_at, began), first, last if agreed and not open_ended else None)
    destroyed = ended() | standing.ended()
    return {stream: owner for stream, owner in found.items() if stream not in destroyed}


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
    """Only the newest night that is due can still be filled; the rest of a very long outage is closed at the next look."""
    newer = Run.objects.filter(stream=OuterRef("stream"), kind=OuterRef("kind"), night__gt=OuterRef("night"), due_at__lte=now)
    waiting = Run.objects.filter(Exists(newer), kind=Run.Kind.BACKUP, state__in=UNFILLED, due_at__lte=now).order_by("night", "pk")
    for run in waiting[: 2 * BATCH]:
        with transaction.atomic():
            if _pass(run, State.MISSED, ended_at=now):
                events.record(Event.NIGHT_MISSED, subject=run, customer=customer_of(run), facts=_facts(run))


def customer_of(run: Run) -> uuid.UUID | None:
    """Whose run it is; None for the system stream's."""
    return run.stream_id if run.stream_id != SYSTEM_STREAM else None


def _facts(run: Run) -> dict[str, Any]:
    return {"night": run.night.isoformat(), "run": run.pk}


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


def interrupted(run: Run | LiveRestore, now: datetime) -> bool:
    """Whether nobody works on a running run (or restore) any more: its process is gone, or holds the stream's lease no longer."""
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
    return attempt.tried_again(now, trouble, error="ProcessDied", tries=1 if attempt.tries < attempt.policy.max_attempts else None)


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

    @property
    def _mine(self) -> dict[str, Any]:
        return {"pk": self.run.pk, "state": State.RUNNING, "attempts": self.run.attempts}

    def record(self, state: str, **values: Any) -> bool:
        """The attempt's end, unless another attempt has begun or a person decided meanwhile; returns whether it was recorded."""
        check_transition(State.RUNNING, state)
        values = {"queued_at": None, "stop_asked_at": None, "progress": "", **values}
        return bool(update(Run, self._mine, state=state, **values))

    def told(self, line: str, now: datetime) -> None:
        """Shows how far it is; `RunStopped` when a person asked for that, or when another attempt has begun."""
        if not update(Run, {**self._mine, "stop_asked_at": None}, progress=line[:200], progress_at=now):
            raise RunStopped("Stopped by a person.")

    def tried_again(self, now: datetime, trouble: str, *, error: str, tries: int | None = None) -> bool:
        """Failed: due again after a while, or for good when it was the last attempt allowed. `error` is one word for it."""
        again = nights.next_try(self.policy, tries or self.tries, now)
        values = {"ended_at": now, "trouble": trouble[:500]}
        if again is not None:
            return self.record(State.OWED, next_try_at=again, **values)
        with transaction.atomic():
            recorded = self.record(State.FAILED, **values)
            if recorded:
                facts = {**_facts(self.run), "attempts": self.run.attempts, "error": error}
                events.record(Event.BACKUP_FAILED, subject=self.run, customer=customer_of(self.run), facts=facts)
        return recorded


def work_off(vault: Vault, run_id: int) -> Run | None:
    """As `attempted`; the run as it stands after it, None when it was not to be begun."""
    run = due_among([run_id], vault.clock()).get(run_id)
    return Run.objects.select_related("stream").get(pk=run_id) if run is not None and attempted(vault, run) else None


def due_among(run_ids: Iterable[int], now: datetime) -> dict[int, Run]:
    """Those of the runs that may begin now, by their ids."""
    return due_runs(now).select_related("stream").in_bulk(list(run_ids))


def attempted(vault: Vault, run: Run) -> bool:
    """One attempt at a run that was due: a set, or what a set still lacks. Returns whether it was to be begun.

    Raises nothing that a customer's data or a location can cause: it is recorded with the run.
    """
    attempt = _begin(vault, run)
    if attempt is None:
        return False
    try:
        _fill(vault, attempt)
    except RunStopped as stopped:
        attempt.record(State.STOPPED, ended_at=vault.clock(), trouble=str(stopped))
    except Busy as busy:
        attempt.record(State.OWED, next_try_at=vault.clock() + BUSY_WAIT, trouble=str(busy)[:500])
    except LeaseLost as lost:
        attempt.tried_again(vault.clock(), str(lost), error="LeaseLost")
    except Exception as problem:
        if not isinstance(problem, BackupError):
            logger.exception("Run %s failed", run.pk)
        attempt.tried_again(vault.clock(), f"{type(problem).__name__}: {problem}", error=type(problem).__name__)
    return True


def _begin(vault: Vault, run: Run) -> _Attempt | None:
    """Begins an attempt, counted now, unless one was begun or somebody decided since the run was looked at. One process wins."""
    now = vault.clock()
    begun = {"attempts": run.attempts + 1, "started_at": now, "holder": process_name()}
    seen = {"pk": run.pk, "state": run.state, "attempts": run.attempts}
    if not update(Run, seen, state=State.RUNNING, ended_at=None, progress="", progress_at=now, stop_asked_at=None, **begun):
        return None
    for name, value in begun.items():
        setattr(run, name, value)
    return _Attempt(run, vault.policy(run.policy))


def _policy_of(run: Run) -> Policy:
    return BackupPolicy.objects.get(number=run.policy).pure


def _fill(vault: Vault, attempt: _Attempt) -> None:
    run = attempt.run
    troubles = catch_up(vault, run.stream) if run.attempts > 1 else {}
    backup_set = standing_set(run) if run.attempts > 1 else None
    if backup_set is None:
        outcome = back_up(
            vault,
            run.stream,
            night=run.night,
            progress=lambda line: attempt.told(line, vault.clock()),
            policy=attempt.policy.number if run.kind == Run.Kind.BACKUP else None,
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
    values = {"backup_set": backup_set.pk, "late": late, "ended_at": now, "trouble": trouble[:500]}
    if backup_set.protected_at is not None:
        attempt.record(State.DONE, **values)
        return
    wait = attempt.policy.retry_after(attempt.tries)
    attempt.record(State.COMPLETE, next_try_at=now + wait, **values | {"trouble": trouble[:500] or "not yet at every required location"})


# Runs that end by themselves


def _pass(run: Run, state: str, **values: Any) -> bool:
    """A transition that no attempt and no person makes."""
    check_transition(run.state, state)
    return bool(Run.objects.filter(pk=run.pk, state=run.state, attempts=run.attempts).update(state=state, queued_at=None, **values))


# How a night stands


def night_report(night: date, now: datetime) -> NightReport:
    """The night's runs, counted by what became of them, against the streams to which it was owed."""
    versions = policies.versions()
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night=night)
    counts = counts_of(night)
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
        broken=runs.filter(backup_set__proof=BackupSet.Proof.BROKEN).count(),
        troubles=tuple((run.stream.name, run.trouble) for run in bad[:BATCH]),
    )


def counts_of(night: date) -> dict[str, int]:
    """The night's runs by what became of them (`nights.column_of`); streams for which none stands are not looked for."""
    counts: dict[str, int] = {}
    runs = Run.objects.filter(kind=Run.Kind.BACKUP, night=night)
    for state, late, count in runs.order_by().values_list("state", "late").annotate(count=Count("pk")):
        column = nights.column_of(state, late)
        counts[column] = counts.get(column, 0) + count
    return counts


def _without_a_run(night: date, versions: list[Policy], now: datetime) -> list[str]:
    """The names of the streams to which the night is owed and for which no run stands."""
    there = Run.objects.filter(kind=Run.Kind.BACKUP, night=night)
    owners = _owners(versions, Customer.objects.filter(~Exists(there.filter(stream=OuterRef("pk")))))
    if there.filter(stream=SYSTEM_STREAM).exists():
        owners.pop(SYSTEM_STREAM, None)
    before = night - nights.DAY
    owing = [
        stream
        for stream, owner in owners.items()
        if any(one.label == night for one in nights.nights_owed(owner, versions, now, after=before))
    ]
    return list(Stream.objects.filter(pk__in=owing).order_by("name").values_list("name", flat=True))
