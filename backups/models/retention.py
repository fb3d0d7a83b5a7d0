"""What retention decided, and who reads what must not go meanwhile. Bookkeeping: it is never journaled."""

from __future__ import annotations

from django.db import models

from audit.models import Stream
from backups.models.catalogue import BackupSet, StreamQuerySet


class Slot(models.Model):
    """One week or month that is over, and the set that was chosen for it: once, never anew. (Of nights the `Run` says it.)"""

    class State(models.TextChoices):
        FILLED = "filled", "filled"
        STOOD_IN = "stood in", "stood in for"
        MISSED = "missed", "missed"
        EXCUSED = "excused", "excused"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="slots", db_index=False)
    key = models.CharField(max_length=20, help_text="week:2026-W03 or month:2026-01")
    first = models.DateField(help_text="The first night of it.")
    last = models.DateField()
    state = models.CharField(max_length=10, choices=State)
    backup_set = models.ForeignKey(BackupSet, on_delete=models.PROTECT, null=True, related_name="slots")
    nights_off = models.PositiveIntegerField(default=0, help_text="How far from it the set lies that stands in.")
    policy = models.PositiveIntegerField(help_text="The version of the policy by which it was chosen.")
    decided_at = models.DateTimeField()
    note = models.TextField(blank=True, help_text="What replaced what, and why.")

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ("-first",)
        constraints = (models.UniqueConstraint(fields=("stream", "key"), name="l2l_slot_once"),)
        indexes = (models.Index(fields=("decided_at",), condition=models.Q(state__in=("missed", "stood in")), name="l2l_slot_lacking"),)

    def __str__(self) -> str:
        return f"{self.stream.name} {self.key}"


class RetentionLook(models.Model):
    """When a stream's periods are next to be decided, and by which policy and term its sets were."""

    stream = models.OneToOneField(Stream, on_delete=models.PROTECT, primary_key=True, related_name="+")
    look_at = models.DateTimeField(db_index=True, help_text="Then the next week or month closes.")
    policy = models.PositiveIntegerField()
    years = models.PositiveIntegerField(help_text="The longest that anything of the stream is kept.")
    weeks_to = models.DateField(null=True, help_text="The last night of the newest week that is decided.")
    months_to = models.DateField(null=True, help_text="The last night of the newest month that is decided.")
    waits = models.CharField(max_length=500, blank=True, help_text="Why what is due does not go.")

    objects = StreamQuerySet.as_manager()

    class Meta:
        verbose_name = "customer under retention"
        verbose_name_plural = "customers under retention"

    def __str__(self) -> str:
        return f"retention of {self.stream.name}"


class ReadLease(models.Model):
    """Somebody reads a set: until `expires_at` it does not go. Renewed while it is read."""

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.CASCADE, related_name="+")
    backup_set = models.ForeignKey(BackupSet, on_delete=models.CASCADE, related_name="read_leases")
    holder = models.CharField("process", max_length=200, help_text="host:pid:start of the process that reads.")
    why = models.CharField(max_length=100)
    taken_at = models.DateTimeField()
    expires_at = models.DateTimeField()


class ClockMark(models.Model):
    """What a machine's two clocks last said together; and until when a person vouches for the clock. One row a machine."""

    host = models.CharField(max_length=200, primary_key=True)
    boot = models.CharField(max_length=64)
    seconds = models.FloatField(help_text="Since the machine was started.")
    at = models.DateTimeField()
    doubts = models.TextField(blank=True)
    cleared_until = models.DateTimeField(null=True)
    cleared_by = models.CharField(max_length=150, blank=True)
    cleared_reason = models.CharField(max_length=500, blank=True)

    class Meta:
        permissions = [("clear_clock", "Can vouch for a clock that is in doubt")]
