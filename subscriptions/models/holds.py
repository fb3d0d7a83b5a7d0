"""Legal holds: while one is open, nothing of its customer is removed (P9; design section 7). Never a state: always a row of its own."""

from __future__ import annotations

from typing import Any

from django.db import models

import audit
from audit.two_person import TwoPersonRequest
from subscriptions.models.customer import Customer


@audit.protect(system=True)
class LegalHold(audit.TrackedModel):
    """Who demands it, on what ground, when to look at it again. Open until two people released it; placed by one, for it only keeps."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="holds")
    holder = models.CharField(max_length=200, help_text="Who demands it: a court, an authority, counsel.")
    basis = models.TextField(help_text="On what ground: order, case or file number.")
    review_on = models.DateField(
        "to be reviewed on", help_text="On that day somebody looks whether it must stay; it does not end by itself."
    )
    placed_by = models.CharField(max_length=150, editable=False)
    placed_at = models.DateTimeField(editable=False)
    released_at = models.DateTimeField(null=True, editable=False)
    released_by = models.CharField("release asked by", max_length=150, blank=True, editable=False)
    release_approved_by = models.CharField(max_length=150, blank=True, editable=False)
    release_reason = models.TextField(blank=True, editable=False)

    class Meta:
        verbose_name = "legal hold"
        ordering = ("-placed_at",)
        indexes = (models.Index(fields=("customer",), condition=models.Q(released_at=None), name="l2l_hold_open"),)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(released_at=None)
                | (~models.Q(release_approved_by="") & ~models.Q(release_approved_by=models.F("released_by"))),
                name="l2l_hold_two_people",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer.code}: {self.holder}"


@audit.protect(system=True)
class HoldReleaseRequest(TwoPersonRequest):
    """One asks that a hold ends, another approves."""

    hold: Any = models.ForeignKey(LegalHold, on_delete=models.PROTECT, related_name="releases")

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "release of a legal hold"
        verbose_name_plural = "releases of legal holds"
        ordering = ("-requested_at",)
