"""Due runs into the queue, and the queue forgotten. Its rows are disposable: what is owed stands in the runs."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django_q.models import Failure, OrmQ
from django_q.tasks import async_task

from backups import runs
from backups.models import Run

WORKER, DESTROYER = "worker", "destroyer"
# Enough for the workers until the next look, and no more, so that a lost queue costs little.
AHEAD = 3000
BATCH = 200
FAILURES_KEPT = 1000


def queue_due(now: datetime) -> int:
    """One message for each due run that has none; returns how many. Messages are ids only."""
    room = AHEAD - OrmQ.objects.filter(key=WORKER).count()
    waiting = list(runs.unqueued(now).values_list("pk", flat=True)[: max(room, 0)])
    queued = 0
    for start in range(0, len(waiting), BATCH):
        with transaction.atomic():
            queued += sum(queue(pk, now) for pk in waiting[start : start + BATCH])
    return queued


def queue(run_id: int, now: datetime) -> bool:
    """Queues one run, unless it is queued already. With the caller's transaction, for the queue is in the same database."""
    if not Run.objects.filter(runs.not_queued(now), pk=run_id).update(queued_at=now):
        return False
    async_task("backups.tasks.work_off", run_id, q_options={"cluster": WORKER, "group": "runs"})
    return True


def look_now() -> None:
    """Has the worker look for what is due at once, rather than at the next minute."""
    async_task("backups.tasks.look", q_options={"cluster": WORKER, "group": "look"})


def forget(cluster: str) -> None:
    """Empties the queue of a cluster that is about to start: messages that a dead one had taken would wait for hours."""
    OrmQ.objects.filter(key=cluster).delete()
    if cluster == WORKER:
        Run.objects.filter(queued_at__isnull=False).update(queued_at=None)


def forget_failures() -> None:
    """Keeps the newest failed tasks only: nothing else ever removes them."""
    old = Failure.objects.order_by("-stopped").values_list("pk", flat=True)[FAILURES_KEPT : FAILURES_KEPT + BATCH]
    Failure.objects.filter(pk__in=list(old)).delete()
