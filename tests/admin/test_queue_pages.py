"""django-q's tables as pages of ours: nothing there starts a task, and only what is disposable can be thrown away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib import admin
from django.test import Client
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.tasks import async_task

from audit.admin import BackOfficeAdmin
from l2l import schedules
from tests.admin.conftest import url

As = Callable[[str], Client]


@pytest.fixture
def queue(db: None) -> tuple[OrmQ, Failure]:
    schedules.keep()
    async_task("backups.tasks.work_off", 7, q_options={"cluster": "worker"})
    now = datetime.now(UTC)
    failure = Failure.objects.create(
        id="f" * 32,
        name="lost",
        func="backups.tasks.work_off",
        started=now,
        stopped=now,
        success=False,
        result="OSError: no room\nTraceback",
    )
    return OrmQ.objects.get(), failure


def test_what_waits_what_failed_and_the_schedules_are_shown(as_: As, queue: tuple[OrmQ, Failure]) -> None:
    client = as_("olga")
    assert "backups.tasks.work_off" in client.get(url("ormq_changelist")).content.decode()
    listed = client.get(url("failure_changelist")).content.decode()
    assert "OSError: no room" in listed and "Traceback" not in listed
    assert "Traceback" in client.get(url("failure_change", queue[1].pk)).content.decode()
    shown = client.get(url("schedule_changelist")).content.decode()
    assert "backups.tasks.look" in shown and "60 minutes" in shown


def test_a_message_that_cannot_be_read_is_shown_as_that(as_: As, db: None) -> None:
    OrmQ.objects.create(key="worker", payload="scribble")
    assert as_("olga").get(url("ormq_changelist")).status_code == 200


def test_no_page_starts_a_task_or_changes_a_schedule(as_: As, queue: tuple[OrmQ, Failure]) -> None:
    client = as_("root")
    for action in ("resubmit_task", "delete_selected"):
        client.post(url("failure_changelist"), {"action": action, "_selected_action": [queue[1].pk], "index": "0", "post": "yes"})
    assert OrmQ.objects.count() == 1 and Failure.objects.count() == 1
    row = Schedule.objects.first()
    assert row is not None and client.post(url("schedule_change", row.pk), {"func": "os.system"}).status_code == 403
    assert client.post(url("ormq_change", queue[0].pk), {"key": "destroyer"}).status_code == 403
    assert client.get(url("schedule_add")).status_code == 403
    assert Success not in admin.site._registry
    assert all(isinstance(admin.site._registry[model], BackOfficeAdmin) for model in (Schedule, OrmQ, Failure))


def test_an_administrator_throws_away_what_failed_and_what_waits(as_: As, queue: tuple[OrmQ, Failure]) -> None:
    client = as_("anna")
    assert client.post(url("failure_delete", queue[1].pk), {"post": "yes"}).status_code == 302
    assert client.post(url("ormq_delete", queue[0].pk), {"post": "yes"}).status_code == 302
    assert (Failure.objects.count(), OrmQ.objects.count()) == (0, 0)
