"""What is owed, night by night, and who works on it. Bookkeeping: it is never journaled."""

from __future__ import annotations

from django.db import models

from audit.models import Stream
from backups.models.catalogue import BackupSet, StreamQuerySet


class Run(models.Model):
    """What is owed to one stream for one night. The queue's rows are disposable; this one is the truth, and stays."""

    class Kind(models.TextChoices):
        BACKUP = "backup", "nightly backup"
        ASKED = "asked", "asked for"

    class State(models.TextChoices):
        OWED = "owed", "owed"
        RUNNING = "running", "running"
        COMPLETE = "complete", "not yet everywhere"
        DONE = "done", "done"
        FAILED = "failed", "failed"
        STOPPED = "stopped", "stopped"
        PAUSED = "paused", "paused"
        EXCUSED = "excused", "excused"
        MISSED = "missed", "missed"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="runs", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.BACKUP)
    night = models.DateField(help_text="Called by the day on which it begins, at noon.")
    state = models.CharField(max_length=10, choices=State, default=State.OWED)
    policy = models.PositiveIntegerField(help_text="The version of the policy that the night goes by.")
    due_at = models.DateTimeField()
    ends_at = models.DateTimeField(help_text="The noon that ends the night; begun after it, the run is late.")
    next_try_at = models.DateTimeField(help_text="Not tried before.")
    queued_at = models.DateTimeField(null=True, blank=True, help_text="When it was put into the queue and not begun since.")
    attempts = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    forgiven = models.PositiveIntegerField(default=0, help_text="Attempts before a person asked for a new start: they count no more.")
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    late = models.BooleanField(default=False)
    trouble = models.CharField(max_length=500, blank=True)
    progress = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)
    stop_asked_at = models.DateTimeField(null=True, blank=True)
    paused_by = models.CharField(max_length=150, blank=True)
    paused_reason = models.CharField(max_length=500, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)
    backup_set = models.ForeignKey(BackupSet, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ("-night", "stream")
        permissions = (("operate_run", "Can start, stop and pause runs"),)
        constraints = (
            models.UniqueConstraint(fields=("stream", "night"), condition=models.Q(kind="backup"), name="l2l_run_once_a_night"),
            models.UniqueConstraint(
                fields=("stream",), condition=models.Q(kind="asked", state__in=("owed", "running", "complete")), name="l2l_run_asked_once"
            ),
            models.CheckConstraint(condition=~models.Q(state="paused") | models.Q(paused_until__isnull=False), name="l2l_run_paused_until"),
        )
        indexes = (
            models.Index(fields=("kind", "night", "state", "late"), name="l2l_run_night"),
            models.Index(fields=("-night",), name="l2l_run_newest"),
            models.Index(
                fields=("next_try_at",),
                condition=models.Q(state__in=("owed", "running", "complete", "failed", "stopped", "paused")),
                name="l2l_run_open",
            ),
        )

    def __str__(self) -> str:
        return f"{self.stream.name} {self.night}"


class Act(models.Model):
    """What a person did to a run, and why."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="acts")
    at = models.DateTimeField()
    what = models.CharField(max_length=20)
    actor = models.CharField(max_length=150)
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.what} by {self.actor}"


class Heartbeat(models.Model):
    """The last sign of life of one process at work in a cluster."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=40, help_text="The cluster.")
    process = models.CharField(max_length=200, help_text="host:pid:start")
    at = models.DateTimeField()

    class Meta:
        ordering = ("name", "-at")
        constraints = (models.UniqueConstraint(fields=("name", "process"), name="l2l_heartbeat_once"),)

    def __str__(self) -> str:
        return f"{self.name} {self.process}"
