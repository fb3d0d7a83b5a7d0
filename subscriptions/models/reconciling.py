"""That the list of customers was held against billing's (P1): whom we do not know, nobody backs up."""

from __future__ import annotations

from typing import Any

from django.db import models

import audit
from audit.fields import CanonicalJSONField


@audit.protect(system=True)
class Reconciliation(audit.TrackedModel):
    """One comparison, written by `subscriptions.reconciling` and never changed. `differences` names codes and agreement numbers alone."""

    at = models.DateTimeField()
    by = models.CharField(max_length=200)
    source_sha256 = models.CharField(max_length=64, help_text="Of billing's file as it was given.")
    billed = models.PositiveIntegerField(help_text="Customers in billing's file that are billed on that day.")
    ours = models.PositiveIntegerField(help_text="Customers of ours with a subscription that runs.")
    matched = models.PositiveIntegerField()
    differences: Any = CanonicalJSONField(default=dict)

    class Meta:
        default_permissions = ("view", "add")
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} UTC"
