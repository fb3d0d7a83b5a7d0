"""One item that a person asked for, taken from the backups by the queue. It belongs to the customer; what it brings is an `Export`."""

from __future__ import annotations

from django.db import models

from audit.models import Stream
from backups.models.catalogue import StreamQuerySet
from subscriptions.models import Export


class ItemExport(models.Model):
    """Which object (`model`, `key`), which of its versions (`history_id`), who asked and why; then how far it is and where it lies."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting for the worker"
        RUNNING = "running", "being taken from the backups"
        READY = "ready", "ready"
        FAILED = "failed", "failed"
        REMOVED = "removed", "removed"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+")
    model = models.CharField(max_length=100)
    key = models.CharField(max_length=100)
    history_id = models.BigIntegerField("version", null=True)
    by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    asked_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    progress = models.CharField(max_length=200, blank=True)
    trouble = models.CharField(max_length=500, blank=True)
    notes = models.TextField(blank=True)
    size = models.PositiveBigIntegerField(default=0)
    export = models.ForeignKey(Export, on_delete=models.PROTECT, null=True, related_name="+")

    objects = StreamQuerySet.as_manager()

    class Meta:
        verbose_name = "item export"
        ordering = ("-asked_at",)
        indexes = (models.Index(fields=("state",), condition=models.Q(state__in=("waiting", "running", "ready")), name="l2l_item_export"),)

    def __str__(self) -> str:
        return f"{self.model} {self.key}"
