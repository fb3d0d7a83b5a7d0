"""Streams and the journal: one stream per customer and one for the system, one journal row per history row (design section 4).

A change gets its number, its salted leaf digest and its link in the stream's chain (`audit.chain`) when it is shipped; from then on none of
them changes. The content may go one day: leaf, digest and number stay.
"""

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


class RowShape(models.Model):
    """The columns of a protected model's history rows, as they were when changes were numbered: a leaf covers these columns and no others,
    so that a column added later alters no digest. `columns` is canonical JSON, in the order of the columns' names."""

    id = models.AutoField(primary_key=True)
    model = models.CharField(max_length=100)
    columns = models.TextField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("model", "sha256"), name="l2l_row_shape_once"),)

    def __str__(self) -> str:
        return f"{self.model} {self.sha256[:8]}"


class ChainHead(models.Model):
    """Where a stream's chain stands: the newest number, its digest, and the effective time of the newest whole transaction (the running
    maximum of `written_at` along the chain). `open_transaction` is one of which only a part has its numbers yet."""

    stream = models.OneToOneField(Stream, on_delete=models.PROTECT, primary_key=True, related_name="+")
    number = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="0" * 64)
    at = models.DateTimeField(null=True)
    open_transaction = models.UUIDField(null=True)

    def __str__(self) -> str:
        return f"{self.stream_id} {self.number}"


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
    shape = models.ForeignKey(RowShape, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    # No digest yet is not an empty one. 16 bytes and twice 32, in hex.
    salt = models.CharField(max_length=32, null=True)  # noqa: DJ001
    leaf = models.CharField(max_length=64, null=True)  # noqa: DJ001
    digest = models.CharField(max_length=64, null=True)  # noqa: DJ001
    segment = models.BigIntegerField(null=True, help_text="The segment that it was first shipped in.")

    class Meta:
        verbose_name = "change"
        indexes = (
            models.Index(fields=("stream", "id"), name="l2l_journal_stream"),
            # The outbox alone, empty most of the time; the second and third serve when more waits than one segment takes.
            models.Index(fields=("id",), condition=models.Q(number=None), name="l2l_journal_outbox"),
            models.Index(fields=("stream", "id"), condition=models.Q(number=None), name="l2l_journal_turns"),
            models.Index(fields=("transaction", "id"), condition=models.Q(number=None), name="l2l_journal_waiting"),
            models.Index(fields=("stream", "number"), condition=models.Q(number__isnull=False, salt=None), name="l2l_journal_purged"),
        )
        constraints = (
            models.UniqueConstraint(fields=("model", "history_id"), name="l2l_journal_one_per_history_row"),
            models.UniqueConstraint(
                fields=("stream", "number"), condition=models.Q(number__isnull=False), name="l2l_journal_one_per_number"
            ),
        )
