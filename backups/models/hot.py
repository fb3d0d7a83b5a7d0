"""What was shipped up to the second, and how long it took. Bookkeeping: it is never journaled, and can be rebuilt from the locations."""

from __future__ import annotations

from django.db import models

from audit.models import Stream
from backups.models.catalogue import Location


class Timeline(models.Model):
    """One line of segments. A database that went back in time begins the next one, when a person says so: numbers go on behind the
    highest that any location knows. `forks` says for each stream that had gone further where the new line leaves the old one:
    `{stream: [number, digest, highest]}`: the numbers above `number` up to `highest` belong to the old line alone, and the chain goes on
    from `digest` with the number after `highest`: a number has one digest for ever."""

    number = models.PositiveIntegerField(primary_key=True)
    started_at = models.DateTimeField()
    started_by = models.CharField(max_length=200)
    reason = models.CharField(max_length=500)
    first_segment = models.BigIntegerField()
    forks = models.JSONField(default=dict)

    class Meta:
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"timeline {self.number}"


class Segment(models.Model):
    """One immutable object with the changes of one tick, of all customers. The row is written with the numbers, before the object.

    `sections` are `[stream, first number, last number]`; `until` is the moment before which nothing else was visible, but of the streams in
    `waiting`, with the time of their oldest change that waited.
    """

    number = models.BigIntegerField(primary_key=True)
    epoch = models.PositiveBigIntegerField(help_text="The leader's that wrote it; another leader writes it under another name.")
    timeline = models.PositiveIntegerField(default=1)
    name = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64, blank=True, help_text="Empty until it was made.")
    size = models.PositiveIntegerField(default=0)
    made_at = models.DateTimeField()
    until = models.DateTimeField()
    changes = models.PositiveIntegerField(default=0)
    oldest_at = models.DateTimeField(null=True, help_text="When the oldest of its changes was written.")
    sections = models.JSONField(default=list)
    waiting = models.JSONField(default=dict)
    trouble = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"segment {self.number}"


class SegmentCopy(models.Model):
    """One segment at one location: owed until its bytes were read back there."""

    id = models.BigAutoField(primary_key=True)
    segment = models.ForeignKey(Segment, on_delete=models.CASCADE, related_name="copies")
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    durable_at = models.DateTimeField(null=True)
    checked_at = models.DateTimeField(null=True, help_text="When its bytes were last read and found right, after it became durable.")

    class Meta:
        verbose_name_plural = "segment copies"
        constraints = (models.UniqueConstraint(fields=("segment", "location"), name="l2l_segment_copy_once"),)
        indexes = (models.Index(fields=("location", "segment"), condition=models.Q(durable_at=None), name="l2l_segment_owed"),)


class KeptSegment(models.Model):
    """Sections that were copied out of a segment before it was removed, for customers whose sets do not cover them yet: `[stream, last
    number]`."""

    id = models.BigAutoField(primary_key=True)
    number = models.BigIntegerField(db_index=True)
    name = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64, blank=True)
    size = models.PositiveIntegerField(default=0)
    sections = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.name


class HotFile(models.Model):
    """A new upload on its way to the locations beside its row. `parts` are `[blob's SHA-256, offset, length, blob's id]` once it is
    sealed; its entry is in `segment`. The blobs are kept for it until protected sets cover that segment."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        SEALED = "sealed", "on its way"
        STORED = "stored", "stored"
        ABSENT = "absent", "absent"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", db_index=False)
    model = models.CharField(max_length=100)
    field = models.CharField(max_length=100)
    name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    number = models.BigIntegerField(help_text="The change that brought it.")
    written_at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    parts = models.JSONField(default=list)
    key = models.PositiveIntegerField(default=0, help_text="The number of the stream's key that opens them.")
    segment = models.BigIntegerField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("stream", "model", "name"), name="l2l_hot_file_once"),)
        indexes = (models.Index(fields=("id",), condition=models.Q(state__in=("waiting", "sealed")), name="l2l_hot_file_open"),)


class LossHour(models.Model):
    """How long the changes of one hour took from commit to durable at one location: how many in each of `loss_window.BOUNDS`."""

    id = models.BigAutoField(primary_key=True)
    hour = models.DateTimeField()
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    changes = models.PositiveBigIntegerField(default=0)
    buckets = models.JSONField(default=list)
    longest = models.FloatField(default=0.0, help_text="Seconds.")

    class Meta:
        ordering = ("-hour",)
        constraints = (models.UniqueConstraint(fields=("hour", "location"), name="l2l_loss_hour_once"),)


class HotState(models.Model):
    """What the shipper's next leader must know. One row. `stopped` says why nothing may be shipped, pruned or destroyed until a person
    decides: a location knows more than this database."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    timeline = models.PositiveIntegerField(default=1)
    last_segment = models.BigIntegerField(default=0)
    removed_to = models.BigIntegerField(default=0, help_text="Segments up to this one were removed: sets hold what they said.")
    stopped = models.CharField(max_length=1000, blank=True)
    stopped_at = models.DateTimeField(null=True)
    unled_since = models.DateTimeField(null=True, help_text="Since when the queue ships, because nobody leads.")
    ticked_at = models.DateTimeField(null=True, help_text="When a leader last looked and recorded.")
    # After a recovery: segments behind this one under epochs up to that one were shipped by the lost machine, and are not known here.
    recovered_segment = models.BigIntegerField(null=True)
    recovered_epoch = models.PositiveBigIntegerField(null=True)

    class Meta:
        verbose_name = verbose_name_plural = "hot backups"

    def __str__(self) -> str:
        return "hot backups"
