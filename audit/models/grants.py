"""Who has which role, since when, by whom and until when. Grants alone set Django's groups (P5)."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models

from audit.registry import protect
from audit.roles import Role
from audit.tracked import TrackedModel


@protect(system=True)
class Grant(TrackedModel):
    """Written by the verbs of `audit.grants`. Open until `ended_at`; a role given again is a new grant with a new beginning."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="grants")
    role = models.CharField(max_length=40, choices=[(role.value, role.value) for role in Role])
    since = models.DateTimeField()
    by = models.CharField(max_length=200)
    until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("-since",)
        constraints = [
            models.UniqueConstraint(fields=("user", "role"), condition=models.Q(ended_at=None), name="l2l_grant_open_once"),
            models.CheckConstraint(condition=models.Q(until=None) | models.Q(until__gt=models.F("since")), name="l2l_grant_dates"),
        ]

    def __str__(self) -> str:
        return f"{self.role} of {self.user}"

    def in_force(self, now: datetime) -> bool:
        return self.since <= now and (self.until is None or now < self.until) and (self.ended_at is None or now < self.ended_at)
