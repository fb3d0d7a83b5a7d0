"""What verification found, and how far it is. Bookkeeping: it is never journaled; what people must know is an event and a finding."""

from __future__ import annotations

from django.db import models

from audit.models import Stream
from backups.models.catalogue import Blob, Location, StreamQuerySet
from backups.models.hot import SegmentCopy


class ServiceObject(models.Model):
    """An object at one location that belongs to no stored object's row and to no segment's: what was kept of segments, the record of their
    removal, timelines, the location's own files, and who was destroyed. `sha256` is of the bytes that were found right there first;
    `text` is all of it where it may be made again from here: it holds ids and numbers only, and a signature."""

    class Kind(models.TextChoices):
        FORMAT = "format", "location's format file"
        README = "readme", "location's README"
        KEPT = "kept", "what was kept of a segment"
        REMOVED = "removed", "record of removed segments"
        TIMELINE = "timeline", "timeline"
        ENDED = "ended", "destroyed customer"

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    name = models.CharField(max_length=200)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    text = models.TextField(blank=True)
    checked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("location", "name"), name="l2l_service_object_once"),)

    def __str__(self) -> str:
        return self.name


class VerificationPass(models.Model):
    """One night's reading at one location, however many turns it took. `allowed` is the night's budget in bytes; `left` are objects
    that were found wrong and could not be mended."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="passes", db_index=False)
    night = models.DateField(help_text="The night it belongs to, from noon to noon.")
    started_at = models.DateTimeField()
    turn_at = models.DateTimeField(help_text="When it last went on.")
    ended_at = models.DateTimeField(null=True)
    listed_at = models.DateTimeField(null=True, help_text="When all that the location lists was held against what it should hold.")
    allowed = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0.0, help_text="Spent reading.")
    objects_read = models.PositiveBigIntegerField("objects", default=0)
    bytes_read = models.PositiveBigIntegerField("bytes", default=0)
    found = models.PositiveIntegerField(default=0)
    mended = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0)
    unknown = models.PositiveIntegerField(default=0)
    stored_objects = models.PositiveBigIntegerField(default=0, help_text="What was there, and was read again from time to time.")
    stored_bytes = models.PositiveBigIntegerField(default=0)
    in_time = models.PositiveBigIntegerField(default=0, help_text="Of these objects those that were checked within the period.")
    oldest_at = models.DateTimeField(null=True, help_text="The oldest check of any object there, after it.")
    trouble = models.CharField(max_length=500, blank=True)

    class Meta:
        verbose_name = "verification pass"
        verbose_name_plural = "verification passes"
        ordering = ("-night", "location__position")
        constraints = (models.UniqueConstraint(fields=("location", "night"), name="l2l_pass_once"),)

    def __str__(self) -> str:
        return f"{self.location.name} {self.night}"


class DamageQuerySet(StreamQuerySet):
    def open(self) -> DamageQuerySet:
        return self.filter(mended_at=None, over_at=None)


class Damage(models.Model):
    """One object that was not as it should be at one location. Of a stream, or of the service (segments and what belongs to nobody alone).

    `mended_from` says whose bytes were put back (a location, or `made again`); `aside` is where the wrong bytes were set aside; `beyond_at`
    when no location had it whole; `over_at` when there was nothing to mend any more (retention took the object).
    """

    class What(models.TextChoices):
        MISSING = "missing", "missing"
        CUT = "cut", "cut short"
        ALTERED = "altered", "altered"
        UNREADABLE = "unreadable", "cannot be read"

    id = models.BigAutoField(primary_key=True)
    stream = models.ForeignKey(Stream, on_delete=models.PROTECT, related_name="+", help_text="The system stream's is the service's too.")
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="damages", db_index=False)
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=30)
    what = models.CharField(max_length=10, choices=What)
    found_at = models.DateTimeField()
    beyond_at = models.DateTimeField(null=True)
    mended_at = models.DateTimeField(null=True)
    mended_from = models.CharField(max_length=40, blank=True)
    over_at = models.DateTimeField(null=True)
    blob = models.ForeignKey(Blob, on_delete=models.SET_NULL, null=True, related_name="+")
    segment_copy = models.ForeignKey(SegmentCopy, on_delete=models.SET_NULL, null=True, related_name="+")
    service_object = models.ForeignKey(ServiceObject, on_delete=models.SET_NULL, null=True, related_name="+")
    aside = models.CharField(max_length=200, blank=True)
    aside_blob = models.ForeignKey(Blob, on_delete=models.SET_NULL, null=True, related_name="+")
    aside_until = models.DateTimeField(null=True)

    objects = DamageQuerySet.as_manager()

    class Meta:
        ordering = ("-found_at", "-id")
        constraints = (
            models.UniqueConstraint(
                fields=("location", "name"), condition=models.Q(mended_at=None, over_at=None), name="l2l_damage_open_once"
            ),
        )
        indexes = (models.Index(fields=("aside_until",), condition=~models.Q(aside=""), name="l2l_damage_aside"),)

    def __str__(self) -> str:
        return self.name


class UnknownObject(models.Model):
    """Listed at a location, and no row knows it. It is reported and never removed; gone from here once it is not listed any more."""

    id = models.BigAutoField(primary_key=True)
    location = models.ForeignKey(Location, on_delete=models.PROTECT, related_name="+", db_index=False)
    name = models.CharField(max_length=200)
    size = models.PositiveBigIntegerField()
    found_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ("-found_at", "name")
        constraints = (models.UniqueConstraint(fields=("location", "name"), name="l2l_unknown_once"),)

    def __str__(self) -> str:
        return self.name
