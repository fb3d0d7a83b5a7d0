"""What happens by the clock, in code. The queue's table only mirrors it: one row there that cannot be read stops every schedule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

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
    Planned("locations are looked at", "backups.tasks.see_locations", 1, WORKER),
    Planned("controls are measured", "l2l.tasks.measure", 1, WORKER),
    Planned("the controls' days are summed up", "audit.tasks.sum_up_controls", 10, WORKER),
    Planned("hot backups without a leader", "backups.tasks.ship_if_unled", 1, WORKER),
    Planned("roles whose time is over", "audit.tasks.end_roles", 5, WORKER),
    Planned("people as the backups have them", "audit.tasks.keep_people", 60, WORKER),
    Planned("agreed terms that begin", "subscriptions.tasks.begin_terms", 60, WORKER),
    Planned("ends of customers begin", "subscriptions.tasks.open_ends", 60, WORKER),
    Planned("ends of customers are reminded of", "l2l.tasks.look_at_ends", 60, WORKER),
    Planned("access is reviewed each quarter", "l2l.tasks.look_at_access", 24 * 60, WORKER),
    Planned("what is stored is read again", "backups.tasks.verify", 10, WORKER),
    Planned("the evidence trail is signed", "backups.tasks.sign_evidence", 60, WORKER),
    Planned("the day's head over all chains", "backups.tasks.anchor", 10, WORKER),
    Planned("keys are wrapped for whom they should be", "backups.tasks.keep_keys", 60, WORKER),
    Planned("former wrappings of keys go", "backups.tasks.remove_former_keys", 60, DESTROYER),
    Planned("evidence packs", "l2l.tasks.look_at_evidence_packs", 5, WORKER),
    Planned("packages for customers that end", "backups.tasks.look_at_returns", 1, WORKER),
    Planned("test restores", "backups.tasks.look_at_test_restores", 5, WORKER),
    Planned("segments that sets cover leave", "backups.tasks.remove_segments", 60, DESTROYER),
    Planned("sets whose time is over go", "backups.tasks.prune", 60, DESTROYER),
    Planned("what was set aside leaves", "backups.tasks.expire_set_aside", 60, DESTROYER),
    Planned("content past its term goes", "backups.tasks.purge", 60, DESTROYER),
    Planned("ended customers are destroyed", "backups.tasks.destroy", 10, DESTROYER),
    Planned("the destroyer is alive", "backups.tasks.alive", 1, DESTROYER),
)


def keep() -> int:
    """Makes the table say what `SCHEDULES` says, and nothing else; returns how many rows were wrong. Safe at any time, in any process.

    Writes, and takes a lock, only when something is wrong.
    """
    if not _wrong(list(Schedule.objects.all())):
        return 0
    with transaction.atomic():
        wrong = _wrong(list(Schedule.objects.select_for_update()))
        Schedule.objects.filter(pk__in=[row.pk for row, planned in wrong if planned is None]).delete()
        for row, planned in wrong:
            if planned is not None:
                _set_right(row, planned)
    return len(wrong)


def _wrong(rows: list[Schedule]) -> list[tuple[Schedule, Planned | None]]:
    """The rows to be changed or made, with what is planned; with None those to be removed: strays, and doubles."""
    by_name = {row.name: row for row in rows}
    kept = {planned.name: by_name.get(planned.name, Schedule(name=planned.name, next_run=None)) for planned in SCHEDULES}
    surplus = [(row, None) for row in rows if row is not kept.get(row.name)]
    return [*surplus, *((kept[one.name], one) for one in SCHEDULES if not _as_planned(kept[one.name], one))]


def _columns(planned: Planned) -> dict[str, Any]:
    return {
        "func": planned.task,
        "schedule_type": Schedule.MINUTES,
        "minutes": planned.minutes,
        "cluster": planned.cluster,
        "repeats": -1,
        **dict.fromkeys(("args", "kwargs", "hook", "cron", "intended_date_kwarg")),
    }


def _timely(row: Schedule, planned: Planned) -> bool:
    return row.next_run is not None and row.next_run <= timezone.now() + timedelta(minutes=planned.minutes)


def _as_planned(row: Schedule, planned: Planned) -> bool:
    return row.pk is not None and _timely(row, planned) and all(getattr(row, name) == value for name, value in _columns(planned).items())


def _set_right(row: Schedule, planned: Planned) -> None:
    for name, value in _columns(planned).items():
        setattr(row, name, value)
    row.next_run = row.next_run if _timely(row, planned) else timezone.now()
    row.save()
