"""The models of a vendor's app in six versions. What each deployment changed is told beside it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

import audit
from subscriptions.models import Customer

VERSION = settings.VERSION


@audit.protect(customer="customer", reference="name")
class Machine(audit.TrackedModel):
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=50 if VERSION < 3 else 200)  # 3: widened
    # 3: more digits; 5: renamed
    if VERSION < 5:
        weight = models.DecimalField(max_digits=8, decimal_places=2 if VERSION < 3 else 4, null=True)
    else:
        mass = models.DecimalField(max_digits=8, decimal_places=4, null=True)
    if VERSION < 6:  # 6: dropped
        colour = models.CharField(max_length=20, blank=True)
    if VERSION >= 2:  # 2: with a default; nullable; computed by a data migration; a default that is another one each time
        site = models.CharField(max_length=20, default="Werk 1")
        note = models.TextField(null=True)
        label = models.CharField(max_length=80, blank=True, default="")
        token = models.UUIDField(default=uuid.uuid4)


if VERSION < 6:  # 6: dropped, with its history

    @audit.protect(customer="machine__customer")
    class Reading(audit.TrackedModel):
        machine = models.ForeignKey(Machine, on_delete=models.CASCADE)
        value = models.IntegerField()


if VERSION >= 4:  # 4: added, and filled by a data migration

    @audit.protect(customer="customer", reference="text")
    class Sign(audit.TrackedModel):
        customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
        text = models.CharField(max_length=20)
