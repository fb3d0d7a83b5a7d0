"""Legal holds: while one is open, nothing of its customer is removed (P9; design section 7). Never a state: always a row of its own."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db import models

import audit
from audit.states import State
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
        default_permissions = ("add", "view")
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

    @property
    def is_open(self) -> bool:
        return self.released_at is None

    def is_due(self, today: date) -> bool:
        """Whether somebody must look now whether it must stay."""
        return self.is_open and self.review_on <= today


@audit.protect(system=True)
class HoldReleaseRequest(TwoPersonRequest):
    """One asks that a hold ends, another approves."""

    hold: Any = models.ForeignKey(LegalHold, on_delete=models.PROTECT, related_name="releases")

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "release of a legal hold"
        verbose_name_plural = "releases of legal holds"
        ordering = ("-requested_at",)
        constraints = [
            *TwoPersonRequest.Meta.constraints,
            models.UniqueConstraint(
                fields=("hold",),
                condition=models.Q(state__in=(State.REQUESTED.value, State.APPROVED.value)),
                name="l2l_hold_one_open_release",
                violation_error_message="Its release is asked for already: decide on that request, or cancel it.",
            ),
        ]
