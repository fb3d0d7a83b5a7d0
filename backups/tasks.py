"""What the queue calls: ids in, one verb each. Every task is safe to run twice."""

from __future__ import annotations

from django.conf import settings

from audit import actors, evidence
from backups import heartbeats, keyfiles, queueing, runs
from backups import vault as vaults
from backups.queueing import DESTROYER, WORKER


def look() -> None:
    """What is owed, what was interrupted, what is due: every minute, in the worker cluster."""
    heartbeats.beat(WORKER)
    now = vaults.clock()
    with actors.acting("worker", reason="what is due", source="look"):
        runs.owe_nights(now)
        runs.recover(now)
    queueing.queue_due(now)
    queueing.forget_failures()
    heartbeats.forget_old(now)


def work_off(run_id: int) -> str:
    """One attempt at one run; returns its state."""
    heartbeats.beat(WORKER)
    with actors.acting("worker", reason="a run that is due", source=f"run:{run_id}"):
        run = runs.work_off(vaults.from_settings(), run_id)
    heartbeats.beat(WORKER)
    return run.state if run is not None else "not due"


def sign_evidence() -> None:
    """Signs where the evidence trail stands: what was recorded before cannot be altered unseen."""
    evidence.sign_head(keyfiles.signer(settings.L2L_KEYS), vaults.clock())


def alive() -> None:
    """The destroyer's sign of life, until it has more to do."""
    heartbeats.beat(DESTROYER)
