"""The queue's own tables, as they are: schedules, what waits, what failed. They are disposable: what we owe stands in the runs.

Nothing here starts a task: the library's own "resubmit" and its editable rows would run whatever a row names. An administrator may throw
away what waits (the worker queues again what is due) and what failed.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.text import Truncator
from django_q.models import Failure, OrmQ, Schedule, Success

from audit.admin import BackOfficeAdmin, code, display, moment
from audit.badges import badge

SHORT = 160

for model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(model)


class QueueAdmin(BackOfficeAdmin):
    """Rows that belong to no customer: they carry ids only."""

    def visible_to(self, user: Any, rows: models.QuerySet) -> models.QuerySet:
        return rows

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [field for _, options in self.fieldsets or () for field in options["fields"]]


@admin.register(Schedule)
class ScheduleAdmin(QueueAdmin):
    """The schedules are in the code; a row that says otherwise is put right within seconds."""

    list_display = ("name", "task_name", "every", "cluster", moment("next_run", "next"))
    list_before_template = "back_office/schedules_note.html"
    ordering = ("cluster", "minutes")
    fieldsets = ((None, {"fields": ("name", "task_name", "every", "cluster", moment("next_run", "next"))}),)

    @display(description="calls")
    def task_name(self, schedule: Schedule) -> str:
        return code(schedule.func)

    @display(description="every", ordering="minutes")
    def every(self, schedule: Schedule) -> str:
        return "minute" if schedule.minutes == 1 else f"{schedule.minutes} minutes"


@admin.register(OrmQ)
class WaitingAdmin(QueueAdmin):
    allows = frozenset({"delete"})
    list_display = ("called", "calls", "key", "taken", moment("lock", "free again"))
    list_filter = ("key",)
    ordering = ("pk",)
    fieldsets = ((None, {"fields": ("called", "calls", "key", "taken", moment("lock", "free again"))}),)

    @display(description="task")
    def called(self, message: OrmQ) -> str:
        return message.name() or "cannot be read"

    @display(description="calls")
    def calls(self, message: OrmQ) -> str:
        return code(str(message.func() or "–"))

    @display(description="state")
    def taken(self, message: OrmQ) -> str:
        return badge("taken by a worker", "info") if message.lock else badge("waits")


@admin.register(Failure)
class FailureAdmin(QueueAdmin):
    allows = frozenset({"delete"})
    list_display = ("name", "calls", "cluster", moment("started", "begun"), moment("stopped", "ended"), "short_result")
    list_filter = ("cluster",)
    search_fields = ("name", "func")
    search_help_text = "The task's name, or what it calls"
    ordering = ("-stopped",)
    fieldsets = ((None, {"fields": ("name", "calls", "cluster", moment("started", "begun"), moment("stopped", "ended"), "whole_result")}),)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        return super().get_queryset(request).defer("args", "kwargs")  # pickles that nobody needs to see

    @display(description="calls")
    def calls(self, task: Failure) -> str:
        return code(task.func)

    @display(description="what went wrong")
    def short_result(self, task: Failure) -> str:
        return Truncator(str(task.result or "–").strip().partition("\n")[0]).chars(SHORT)

    @display(description="what went wrong")
    def whole_result(self, task: Failure) -> str:
        return code(str(task.result or "–"))
