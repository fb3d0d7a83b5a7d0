"""A vendor's own models, two foreign keys away from the customer: protected by decoration alone."""

from __future__ import annotations

from django.db import models

import audit
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
