"""A vendor's own models, two foreign keys away from the customer: protected by decoration alone."""

from __future__ import annotations

from django.db import models

import audit
from audit.two_person import TwoPersonRequest
from subscriptions.models import Customer


@audit.protect(customer="customer", reference="name")
class Site(audit.TrackedModel):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    opened = models.DateField(null=True)


@audit.protect(customer="site__customer", reference="name")
class Line(audit.TrackedModel):
    site = models.ForeignKey(Site, on_delete=models.CASCADE, related_name="lines")
    name = models.CharField(max_length=100)
    speed = models.DecimalField(max_digits=8, decimal_places=3, null=True)
    running = models.BooleanField(default=True)


class Sticker(models.Model):
    """Points at a protected row and is not protected itself."""

    line = models.ForeignKey(Line, on_delete=models.CASCADE, related_name="stickers")
    text = models.CharField(max_length=20)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.text


@audit.protect(customer="line__site__customer")
class Downtime(audit.TrackedModel):
    line = models.ForeignKey(Line, on_delete=models.PROTECT, related_name="downtimes")
    began_at = models.DateTimeField()
    lasted = models.DurationField(null=True)
    factor = models.FloatField(default=1.0)
    details = models.JSONField(default=dict)
    photo = audit.TrackedFileField(blank=True, digest_field="photo_sha256", size_field="photo_size")
    photo_sha256 = models.CharField(max_length=64, blank=True)
    photo_size = models.BigIntegerField(default=0)


@audit.protect(customer="customer", reference="label")
class Specimen(audit.TrackedModel):
    """One column of every kind that a protected model can have."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    label = models.CharField(max_length=50)
    text = models.TextField(null=True)
    whole = models.IntegerField(null=True)
    large = models.BigIntegerField(null=True)
    small = models.PositiveSmallIntegerField(null=True)
    flag = models.BooleanField(null=True)
    moment = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    hour = models.TimeField(null=True)
    span = models.DurationField(null=True)
    key = models.UUIDField(null=True)
    amount = models.DecimalField(max_digits=12, decimal_places=4, null=True)
    ratio = models.FloatField(null=True)
    raw = models.BinaryField(null=True)
    free = models.JSONField(null=True)
    fixed = audit.CanonicalJSONField(null=True)
    touched = models.DateTimeField(auto_now=True)


@audit.protect(system=True)
class DoorRequest(TwoPersonRequest):
    """A thing that takes two people."""

    door = models.CharField(max_length=20)

    class Meta(TwoPersonRequest.Meta):
        pass
