"""Changes of what was agreed with a customer that let its data go sooner (P5, P9)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models

import audit
from audit.states import State
from audit.two_person import TwoPersonRequest
from subscriptions.models.customer import Subscription
from subscriptions.terms import SHORTER_BEGINS_AFTER


@audit.protect(system=True)
class TermChangeRequest(TwoPersonRequest):
    """One asks, another approves, and it is made seven days later. `changes` are columns of `subscriptions.terms.AGREED` and what they
    become: a day as YYYY-MM-DD, a number, or null for the standard (of `end`: for no last day)."""

    subscription: Any = models.ForeignKey(Subscription, on_delete=models.PROTECT, related_name="term_requests")
    changes: Any = audit.CanonicalJSONField()

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "change of agreed terms"
        verbose_name_plural = "changes of agreed terms"
        ordering = ("-requested_at",)
        constraints = [
            *TwoPersonRequest.Meta.constraints,
            models.UniqueConstraint(
                fields=("subscription",),
                condition=models.Q(state__in=(State.REQUESTED.value, State.APPROVED.value)),
                name="l2l_terms_one_open_request",
                violation_error_message="A change of its terms is asked for already: decide on that request, or cancel it.",
            ),
        ]

    @property
    def begins_at(self) -> datetime | None:
        """When it takes effect; None until it is approved."""
        return self.approved_at + SHORTER_BEGINS_AFTER if self.approved_at else None
