"""Streams and the journal: one stream per customer and one for the system, one journal row per history row (design section 4)."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models.functions import Now


class Stream(models.Model):
    """One customer's line of changes (its id is the customer's id), or the system's. Its row is what writers share and a freeze takes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=40, unique=True)
    frozen_at = models.DateTimeField(null=True, blank=True)
    frozen_reason = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class JournalRow(models.Model):
    """One change. Without a number it is the outbox: committed, and not yet shipped in a segment."""

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    model = models.CharField(max_length=100)
    history_id = models.BigIntegerField()
    transaction = models.UUIDField()
    # The database's clock: one clock for all writers.
    written_at = models.DateTimeField(db_default=Now())
    number = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=64, null=True)  # noqa: DJ001  (no digest yet is not an empty one)

    class Meta:
        verbose_name = "change"
        indexes = (
            models.Index(fields=("stream", "id"), name="l2l_journal_stream"),
            models.Index(fields=("id",), condition=models.Q(number=None), name="l2l_journal_outbox"),
        )
        constraints = (
            models.UniqueConstraint(fields=("model", "history_id"), name="l2l_journal_one_per_history_row"),
            models.UniqueConstraint(
                fields=("stream", "number"), condition=models.Q(number__isnull=False), name="l2l_journal_one_per_number"
            ),
        )
