"""Due runs into the queue, and the queue forgotten. Its rows are disposable: what is owed stands in the runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django_q.models import Failure, OrmQ
from django_q.tasks import async_task

from backups import runs
from backups.live_restore import carrying_out
from backups.models import LiveRestore, ReturnWork, Run, TestOrder
from backups.returning import carrying_out as returning
from backups.test_restores import orders

WORKER, DESTROYER = "worker", "destroyer"
# Enough for the workers until the next look, and no more, so that a lost queue costs little.
AHEAD = 3000
BATCH = 200
# Small customers share a message, for the queue costs as much as such a backup; few runs have one each, so that all workers get some.
RUNS_A_MESSAGE = 10
SHARES = 16
MICROSECOND = timedelta(microseconds=1)
FAILURES_KEPT = 1000


def queue_due(now: datetime) -> int:
    """A message for each few due runs that have none; returns how many runs. Messages are ids only."""
    room = AHEAD - RUNS_A_MESSAGE * OrmQ.objects.filter(key=WORKER).count()
    waiting = list(runs.unqueued(now).values_list("pk", flat=True)[: max(room, 0)])
    together = min(max(len(waiting) // SHARES, 1), RUNS_A_MESSAGE)
    queued = 0
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        with transaction.atomic():
            for at in range(0, len(batch), together):
                queued += queue(batch[at : at + together], now - (start + at) * MICROSECOND)
    return queued


def queue(run_ids: Sequence[int], now: datetime) -> int:
    """One message for those of the runs that are not queued already; returns how many. The moment is this message's alone: by it
    `runs.recover` finds what shared it. With the caller's transaction, for the queue is in the same database."""
    taken = [pk for pk in run_ids if Run.objects.filter(runs.not_queued(now), pk=pk).update(queued_at=now)]
    if taken:
        async_task("backups.tasks.work_off", taken, q_options={"cluster": WORKER, "group": "runs"})
    return len(taken)


def queue_live_restores(now: datetime) -> int:
    """A message for each live restore that waits and has none; returns how many."""
    waiting = carrying_out.unqueued(now)
    for pk in waiting:
        with transaction.atomic():
            if LiveRestore.objects.filter(pk=pk, state=LiveRestore.State.WAITING).update(queued_at=now):
                async_task("backups.tasks.restore_live", pk, q_options={"cluster": WORKER, "group": "live restores"})
    return len(waiting)


@transaction.atomic
def give_back(run_ids: Sequence[int], now: datetime) -> None:
    """Queues runs again that a worker has taken and not begun."""
    Run.objects.filter(pk__in=run_ids, state__in=(Run.State.OWED, Run.State.COMPLETE)).update(queued_at=None)
    queue(run_ids, now)


def queue_test_restores(now: datetime) -> int:
    """A message for each test restore that waits and has none, as far as there is room; returns how many."""
    waiting = orders.unqueued(now, BATCH)
    for pk in waiting:
        with transaction.atomic():
            if TestOrder.objects.filter(pk=pk, state=TestOrder.State.WAITING).update(queued_at=now):
                async_task("backups.tasks.test_restore", pk, q_options={"cluster": WORKER, "group": "test restores"})
    return len(waiting)


def queue_returns(now: datetime) -> int:
    """A message for each package that waits and has none; returns how many."""
    waiting = returning.waiting(now)
    for pk in waiting:
        with transaction.atomic():
            if ReturnWork.objects.filter(pk=pk, state=ReturnWork.State.WAITING).update(queued_at=now):
                async_task("backups.tasks.make_return", pk, q_options={"cluster": WORKER, "group": "returns"})
    return len(waiting)


def queue_item_export(pk: int) -> None:
    """With the caller's transaction, for the queue is in the same database."""
    async_task("backups.tasks.export_item", pk, q_options={"cluster": WORKER, "group": "exports"})


def purge_now() -> None:
    """Has the destroyer look at once for content that may go, rather than within the hour."""
    async_task("backups.tasks.purge", q_options={"cluster": DESTROYER, "group": "purges"})


def look_at_returns_now() -> None:
    """Has the worker look at the packages that are to be made at once, rather than at the next minute."""
    async_task("backups.tasks.look_at_returns", q_options={"cluster": WORKER, "group": "returns"})


def destroy_now() -> None:
    """Has the destroyer look at ended customers at once, rather than within ten minutes."""
    async_task("backups.tasks.destroy", q_options={"cluster": DESTROYER, "group": "destruction"})


def keep_keys_now() -> None:
    """Has the worker carry out an approved change of keys at once, rather than within the hour."""
    async_task("backups.tasks.keep_keys", q_options={"cluster": WORKER, "group": "keys"})


def look_now() -> None:
    """Has the worker look for what is due at once, rather than at the next minute."""
    async_task("backups.tasks.look", q_options={"cluster": WORKER, "group": "look"})


def forget(cluster: str) -> None:
    """Empties the queue of a cluster that is about to start: messages that a dead one had taken would wait for hours."""
    OrmQ.objects.filter(key=cluster).delete()
    if cluster == WORKER:
        Run.objects.filter(queued_at__isnull=False).update(queued_at=None)
        LiveRestore.objects.filter(queued_at__isnull=False).update(queued_at=None)
        TestOrder.objects.filter(queued_at__isnull=False).update(queued_at=None)
        ReturnWork.objects.filter(queued_at__isnull=False).update(queued_at=None)


def forget_failures() -> None:
    """Keeps the newest failed tasks only: nothing else ever removes them."""
    old = Failure.objects.order_by("-stopped").values_list("pk", flat=True)[FAILURES_KEPT : FAILURES_KEPT + BATCH]
    Failure.objects.filter(pk__in=list(old)).delete()
