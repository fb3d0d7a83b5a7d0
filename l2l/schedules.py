"""What happens by the clock, in code. The queue's table only mirrors it: one row there that cannot be read stops every schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django_q.models import Schedule

from backups.queueing import DESTROYER, WORKER


@dataclass(frozen=True, slots=True)
class Planned:
    """A task without arguments, every so many minutes, in one cluster."""

    name: str
    task: str
    minutes: int
    cluster: str


SCHEDULES = (
    Planned("what is due", "backups.tasks.look", 1, WORKER),
    Planned("the destroyer is alive", "backups.tasks.alive", 1, DESTROYER),
)


@transaction.atomic
def keep() -> int:
    """Makes the table say what `SCHEDULES` says, and nothing else; returns how many rows were wrong. Safe at any time, in any process."""
    rows = {row.name: row for row in Schedule.objects.select_for_update()}
    strays = [row.pk for row in rows.values() if row.name not in {one.name for one in SCHEDULES}]
    doubles = Schedule.objects.exclude(pk__in=[row.pk for row in rows.values()])
    wrong = Schedule.objects.filter(pk__in=strays).delete()[0] + doubles.delete()[0]
    return wrong + sum(_keep_one(one, rows.get(one.name)) for one in SCHEDULES)


def _keep_one(planned: Planned, row: Schedule | None) -> bool:
    wanted = {
        "func": planned.task,
        "schedule_type": Schedule.MINUTES,
        "minutes": planned.minutes,
        "cluster": planned.cluster,
        "repeats": -1,
        **dict.fromkeys(("args", "kwargs", "hook", "cron", "intended_date_kwarg")),
    }
    now = timezone.now()
    row = row or Schedule(name=planned.name, next_run=None)
    timely = row.next_run is not None and row.next_run <= now + timedelta(minutes=planned.minutes)
    if timely and all(getattr(row, name) == value for name, value in wanted.items()):
        return False
    for name, value in wanted.items():
        setattr(row, name, value)
    row.next_run = row.next_run if timely else now
    row.save()
    return True
