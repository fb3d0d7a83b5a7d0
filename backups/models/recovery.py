"""How far the recovery of the whole service is. Bookkeeping: it is never journaled, and says what this database does not know by itself."""

from __future__ import annotations

from django.db import models

from audit.models import Stream


class Recovery(models.Model):
    """That this database is being recovered, or was. One row, made before anything else is written; while `released_at` is empty nobody
    backs up, ships, prunes or writes content here. `ended_at` is empty as long as some customer is not back."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    location = models.CharField(max_length=40, help_text="The location that was named.")
    started_at = models.DateTimeField()
    attempts = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    system_at = models.DateTimeField(null=True, help_text="When the system stream was back.")
    hot_at = models.DateTimeField(null=True, help_text="When it was known again what was shipped.")
    released_at = models.DateTimeField(null=True, help_text="When people and processes were let in.")
    ended_at = models.DateTimeField(null=True, help_text="When every customer was back.")

    def __str__(self) -> str:
        return f"recovery from {self.location}"


class RecoveredStream(models.Model):
    """What came back of one stream. `number` is its newest change and `until` the second up to which all is known."""

    class State(models.TextChoices):
        BACK = "back", "back"
        ENDED = "ended", "ended: it stays destroyed"
        NOT_BACK = "not back", "not back"

    stream = models.OneToOneField(Stream, on_delete=models.PROTECT, primary_key=True, related_name="+")
    state = models.CharField(max_length=10, choices=State)
    at = models.DateTimeField()
    set_id = models.UUIDField(null=True, help_text="The set that it was read from.")
    number = models.BigIntegerField(default=0)
    until = models.DateTimeField(null=True)
    rows = models.PositiveBigIntegerField(default=0)
    history_rows = models.PositiveBigIntegerField(default=0)
    files = models.PositiveBigIntegerField(default=0)
    behind = models.BooleanField(default=False, help_text="A location knows of changes behind these, which could not be had.")
    lost = models.JSONField(default=list, help_text="What is known to be lost, a sentence each: no values.")
    notes = models.JSONField(default=list)
    trouble = models.CharField(max_length=1000, blank=True)

    def __str__(self) -> str:
        return f"{self.stream_id} {self.state}"
