"""What a person does to a run: start it, retry, stop, pause, resume, excuse it, or ask for a set outside of the nights (design section 10).

Each verb locks the run, checks the transition, writes the act with its reason beside the run and an event into the evidence trail, in one
transaction, and has the worker begin at once what is due. All stand inside `audit.acting(...)`, whose actor does it, and raise
`RunRefused` when the run's state does not allow it or no reason is given.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db import transaction

from audit import actors, events
from audit.events import Event
from audit.models import Stream
from backups import nights, policies, queueing, runs
from backups.errors import BackupError
from backups.models import Act, Run
from backups.runs import State
from backups.states import NotAllowed, check_transition


class RunRefused(BackupError):
    """The run's state does not allow that; the message says what it is."""


def ask(stream: uuid.UUID, now: datetime, *, reason: str) -> Run:
    """A set of the stream as it is now, whatever its nights have: due at once. While an asked one is not done, that one."""
    with transaction.atomic():
        Stream.objects.select_for_update(no_key=True).get(pk=stream)
        run = Run.objects.select_for_update().filter(stream=stream, kind=Run.Kind.ASKED, state__in=runs.UNFINISHED).first()
        if run is not None and run.state == State.RUNNING:
            return run
        run = run or _asked(stream, now)
        return _changed(run, Event.RUN_ASKED, now, reason, next_try_at=now)


def retry(run_id: int, now: datetime, *, reason: str) -> Run:
    """A failed or stopped run may begin again at once, with all its attempts before it."""
    return _act(run_id, Event.RUN_RETRIED, State.OWED, now, reason, only=(State.FAILED, State.STOPPED), next_try_at=now)


def run_now(run_id: int, now: datetime, *, reason: str) -> Run:
    """The run is due at once: before its night's start, before its next try, or after it failed, was stopped or paused."""
    with transaction.atomic():
        run = _locked(run_id)
        if run.state in (State.OWED, State.COMPLETE):
            return _changed(run, Event.RUN_HASTENED, now, reason, next_try_at=now, due_at=min(run.due_at, now))
        return _act(run_id, Event.RUN_HASTENED, State.OWED, now, reason, next_try_at=now, due_at=min(run.due_at, now))


def stop(run_id: int, now: datetime, *, reason: str) -> Run:
    """Asks a running run to stop at its next step; one that waits is stopped at once. What it stored is used again."""
    with transaction.atomic():
        run = _locked(run_id)
        if run.state == State.RUNNING:
            return _changed(run, Event.RUN_STOPPED, now, reason, stop_asked_at=now)
        trouble = f"Stopped by {actors.current().name}: {reason}"[:500]
        return _act(run_id, Event.RUN_STOPPED, State.STOPPED, now, reason, trouble=trouble, ended_at=now)


def pause(run_id: int, now: datetime, *, until: datetime, reason: str) -> Run:
    """No backup of that stream until then; the nights that come meanwhile are paused too, and counted as that."""
    if until <= now:
        raise RunRefused("A pause ends in the future.")
    held: dict[str, Any] = {"paused_by": actors.current().name[:150], "paused_reason": reason[:500], "paused_until": until}
    return _act(run_id, Event.RUN_PAUSED, State.PAUSED, now, reason, **held)


@transaction.atomic
def resume(run_id: int, now: datetime, *, reason: str) -> Run:
    """Ends a pause before its date, for the stream's newest paused night."""
    run = _act(run_id, Event.RUN_RESUMED, State.OWED, now, reason, only=(State.PAUSED,), next_try_at=now, paused_until=now)
    Run.objects.filter(stream=run.stream_id, state=State.PAUSED, paused_until__gt=now).update(paused_until=now)
    return run


def excuse(run_id: int, now: datetime, *, reason: str) -> Run:
    """No set is owed for that night after all, such as after the data was returned."""
    return _act(run_id, Event.RUN_EXCUSED, State.EXCUSED, now, reason, ended_at=now)


def _asked(stream: uuid.UUID, now: datetime) -> Run:
    night = nights.current_night(policies.versions(), now)
    return Run.objects.create(
        stream_id=stream,
        kind=Run.Kind.ASKED,
        night=night.label,
        policy=night.policy.number,
        due_at=now,
        ends_at=night.ends_at,
        next_try_at=now,
    )


def _locked(run_id: int) -> Run:
    return Run.objects.select_for_update().get(pk=run_id)


@transaction.atomic
def _act(run_id: int, event: Event, state: str, now: datetime, reason: str, *, only: Iterable[str] = (), **values: Any) -> Run:
    run = _locked(run_id)
    if only and run.state not in only:
        raise RunRefused(f"The run of {run.night} is {run.state}; this is for one that is {' or '.join(only)}.")
    if run.kind == Run.Kind.ASKED:
        _refuse_for_asked(run, state)
    try:
        check_transition(run.state, state)
    except NotAllowed as refused:
        raise RunRefused(str(refused)) from None
    return _changed(run, event, now, reason, state=state, **values)


def _refuse_for_asked(run: Run, state: str) -> None:
    if state in (State.PAUSED, State.EXCUSED):
        raise RunRefused("This set was asked for by a person, and no night waits for it: stop it instead.")
    others = Run.objects.filter(stream=run.stream_id, kind=Run.Kind.ASKED, state__in=runs.UNFINISHED).exclude(pk=run.pk)
    if state == State.OWED and others.exists():
        raise RunRefused("Another set was asked for meanwhile: that run is not done yet.")


def _changed(run: Run, event: Event, now: datetime, reason: str, **values: Any) -> Run:
    if not reason.strip():
        raise RunRefused("Say why.")
    if values.get("state") == State.OWED:
        values["forgiven"] = run.attempts
    for name, value in {**values, "queued_at": None}.items():
        setattr(run, name, value)
    run.save(update_fields=[*values, "queued_at"])
    Act.objects.create(run=run, at=now, what=event.partition(":")[2], actor=actors.current().name[:150], reason=reason.strip()[:500])
    if runs.due_runs(now).filter(pk=run.pk).exists():
        queueing.queue([run.pk], now)
    facts = {
        "run": run.pk,
        "night": run.night.isoformat(),
        "until": values["paused_until"].isoformat() if "paused_until" in values else None,
    }
    events.record(event, subject=run, customer=runs.customer_of(run), facts=facts)
    return run
