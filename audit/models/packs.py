"""Evidence packs that were asked for and made (P13)."""

from __future__ import annotations

import uuid

from django.db import models


class EvidencePack(models.Model):
    """A signed zip for a period. Its file lies in `L2L_EXPORTS` until it expires; making and fetching it are events."""

    class State(models.TextChoices):
        WAITING = "waiting", "waits for the worker"
        RUNNING = "running", "being made"
        MADE = "made", "ready"
        FAILED = "failed", "failed"
        EXPIRED = "expired", "removed, for its time was over"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    first = models.DateField(help_text="First day of the period.")
    last = models.DateField(help_text="Last day of the period.")
    seed = models.CharField(max_length=64, help_text="By which the sample was drawn; the same seed draws the same.")
    asked_by = models.CharField(max_length=200)
    asked_at = models.DateTimeField()
    reason = models.TextField()
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    progress = models.CharField(max_length=200, blank=True)
    trouble = models.TextField(blank=True)
    attempts = models.PositiveIntegerField(default=0)
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    begun_at = models.DateTimeField(null=True, blank=True)
    made_at = models.DateTimeField(null=True, blank=True)
    file_name = models.CharField(max_length=200, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    unreconciled = models.TextField(blank=True, help_text="The equations that do not hold, a line each; the pack tells of them too.")
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "evidence pack"
        default_permissions = ("view", "add")
        ordering = ("-asked_at",)

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"
