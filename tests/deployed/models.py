"""The models of a vendor's app in six versions. What each deployment changed is told beside it."""

from __future__ import annotations

import uuid
from typing import Any

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


# How rows of older sets become today's: in the order of the deployments, each for the columns that it finds.


@audit.upgrade("deployed.machine", gives={"site": "text", "note": "text", "label": "text", "token": "uuid"})
def labelled(row: dict[str, Any]) -> dict[str, Any]:
    site = "Werk 1"
    token = str(uuid.uuid5(uuid.NAMESPACE_OID, str(row["id"])))
    return {**row, "site": site, "note": None, "label": f"{site}: {row['name']}", "token": token}


if VERSION >= 3:

    @audit.upgrade("deployed.machine", takes={"weight": "decimal(2)"}, gives={"weight": "decimal(4)"})
    def weighed_better(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "weight": row["weight"] and f"{row['weight']}00"}


if VERSION >= 5:

    @audit.upgrade("deployed.machine", takes={"weight": "decimal(4)"}, gives={"mass": "decimal(4)"})
    def weight_is_mass(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "mass": row["weight"]}


if VERSION >= 6:

    @audit.upgrade("deployed.machine", takes={"colour": "text"})
    def colourless(row: dict[str, Any]) -> dict[str, Any]:
        return row
