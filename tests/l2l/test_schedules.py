"""Schedules are code; the queue's table only mirrors them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.cluster import get_broker
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from l2l import schedules

pytestmark = pytest.mark.django_db


def rows() -> list[tuple[str, str, str | None]]:
    return list(Schedule.objects.order_by("name").values_list("name", "func", "cluster"))


PLANNED = sorted((one.name, one.task, one.cluster) for one in schedules.SCHEDULES)


def test_the_table_says_what_the_code_says() -> None:
    assert schedules.keep() == len(PLANNED) and rows() == PLANNED
    assert schedules.keep() == 0


def test_strays_doubles_and_changed_rows_are_put_right() -> None:
    schedules.keep()
    Schedule.objects.create(name="stray", func="os.system", args="'x'")
    Schedule.objects.create(name="what is due", func="os.system")
    Schedule.objects.filter(name="the destroyer is alive").update(func="os.system", next_run=timezone.now() + timedelta(days=400))
    assert schedules.keep() >= 2 and rows() == PLANNED
    assert all(one.next_run is not None and one.next_run <= timezone.now() + timedelta(minutes=1) for one in Schedule.objects.all())


@pytest.mark.django_db(transaction=True)
def test_a_row_that_cannot_be_read_stops_no_schedule_for_long() -> None:
    """The whole scheduler fails over one malformed row; what the code does not know is removed, and it fires again."""
    schedules.keep()
    Schedule.objects.update(next_run=timezone.now() - timedelta(seconds=1))
    Schedule.objects.create(name="broken", func="x.y", args="(1,", cluster="worker", next_run=timezone.now() - timedelta(days=1))
    scheduler(broker=get_broker("worker"))
    assert OrmQ.objects.count() == 0  # the trap, as it is in the library
    assert schedules.keep() == 1
    scheduler(broker=get_broker("worker"))
    assert OrmQ.objects.filter(key="worker").count() == sum(one.cluster == "worker" for one in schedules.SCHEDULES)


def test_every_task_that_is_planned_exists() -> None:
    from django.utils.module_loading import import_string

    assert all(callable(import_string(one.task)) for one in schedules.SCHEDULES)
