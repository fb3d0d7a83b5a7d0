"""The destruction of an ended customer: what was approved, each step, each look afterwards (P12). Evidence, written by `backups.destroy`
alone: it stays when the customer's content is gone, so it has ids, names of objects, counts and digests alone."""

from __future__ import annotations

import json
from typing import Any

import zstandard
from django.db import models

import audit
from audit import canonical
from subscriptions.models import DeletionRequest


@audit.protect(system=True)
class DestructionPlan(audit.TrackedModel):
    """What an approval binds to, whole: `packed` is the canonical JSON of the plan (`backups.destroy.planning`), compressed with zstd, and
    `digest` the SHA-256 of that JSON. Written once, in the transaction of the approval."""

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="plans")
    digest = models.CharField(max_length=64, unique=True)
    made_at = models.DateTimeField()
    objects_listed = models.PositiveBigIntegerField("objects")
    bytes_listed = models.PositiveBigIntegerField("bytes")
    packed = models.BinaryField()

    class Meta:
        verbose_name = "plan of a destruction"
        verbose_name_plural = "plans of destructions"
        default_permissions = ("view",)
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"plan {self.digest[:12]}"

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(zstandard.ZstdDecompressor().decompress(bytes(self.packed)))

    @staticmethod
    def pack(document: dict[str, Any]) -> bytes:
        return zstandard.ZstdCompressor(level=10).compress(canonical.dump_bytes(document))


@audit.protect(system=True)
class DestructionStep(audit.TrackedModel):
    """One step, at one location where `location` is given: recorded before its first removal and when everything of it was seen to be gone.

    `objects` and `bytes` are what went in all its tries together. `round` is 1, and one more after each look that found something:
    then every step is taken again."""

    class Step(models.TextChoices):
        MARKER = "marker", "the marker"
        ROWS = "rows", "live rows, history and journal"
        UPLOADS = "uploads", "uploaded files"
        TEXTS = "texts", "texts in logs, queue and bookkeeping"
        SEGMENTS = "segments", "sections in segments"
        ASIDE = "aside", "damaged segments set aside"
        OBJECTS = "objects", "sets and stored objects"
        PACKAGE = "package", "the package"
        EXPORTS = "exports", "exports, scratch databases, spool"
        CATALOGUE = "catalogue", "the catalogue"
        KEYS = "keys", "keys"

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="steps")
    round = models.PositiveIntegerField(default=1)
    step = models.CharField(max_length=12, choices=Step)
    location = models.CharField(max_length=40, blank=True)
    began_at = models.DateTimeField()
    done_at = models.DateTimeField(null=True)
    objects_gone = models.PositiveBigIntegerField("objects", default=0)
    bytes_gone = models.PositiveBigIntegerField("bytes", default=0)
    counts = audit.CanonicalJSONField(default=dict)
    trouble = models.CharField(max_length=1000, blank=True)
    stated_by = models.CharField(max_length=150, blank=True, help_text="Who states that a location that is used no more was destroyed.")
    stated_why = models.TextField(blank=True)

    class Meta:
        verbose_name = "step of a destruction"
        verbose_name_plural = "steps of destructions"
        default_permissions = ("view",)
        ordering = ("request", "round", "id")
        constraints = [models.UniqueConstraint(fields=("request", "round", "step", "location"), name="l2l_destruction_step_once")]

    def __str__(self) -> str:
        return f"{self.step} {self.location}".strip()


@audit.protect(system=True)
class DestructionSweep(audit.TrackedModel):
    """All places listed again after the steps of a round: at once, after a day (then the certificate), after a week. Kept only when
    every location answered."""

    class Stage(models.TextChoices):
        AT_ONCE = "at once", "at once"
        DAY = "day", "after 24 hours"
        WEEK = "week", "after seven days"

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="sweeps")
    round = models.PositiveIntegerField()
    stage = models.CharField(max_length=10, choices=Stage)
    swept_at = models.DateTimeField()
    clean = models.BooleanField()
    found = audit.CanonicalJSONField(default=dict, help_text="By place how many objects or rows were found.")

    class Meta:
        verbose_name = "sweep after a destruction"
        verbose_name_plural = "sweeps after destructions"
        default_permissions = ("view",)
        ordering = ("request", "swept_at")

    def __str__(self) -> str:
        return f"{self.stage}: {'nothing' if self.clean else 'something'} found"


class DestructionTry(models.Model):
    """The newest look at a request that is approved or under way, and what stood in its way. Bookkeeping: it is never journaled."""

    request = models.OneToOneField(DeletionRequest, on_delete=models.CASCADE, primary_key=True, related_name="newest_look")
    looked_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    trouble = models.CharField(max_length=1000, blank=True)
    told_at = models.DateTimeField(null=True, help_text="When people were last told that it is stuck.")
    progress = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"{self.request_id} {self.looked_at}"
