"""What is not as promised and has to be cleared up by somebody: with owner, due date, cause and resolution (P13)."""

from __future__ import annotations

from datetime import date

from django.conf import settings
from django.db import models

from audit.registry import protect
from audit.tracked import TrackedModel


@protect(system=True)
class Finding(TrackedModel):
    """Written by the verbs of `audit.findings`. Of one kind and subject one is open at a time; what comes again after that was closed
    is a new one. `text` quotes no content: ids, counts, places."""

    kind = models.CharField(max_length=40)
    subject = models.CharField(max_length=200, help_text="app.model:key of what it is about.")
    customer = models.UUIDField(null=True, blank=True, help_text="Whose data it is about, if one customer's.")
    text = models.TextField()
    opened_at = models.DateTimeField()
    opened_by = models.CharField(max_length=200)
    seen_at = models.DateTimeField(help_text="When it was last found to be so, to the day.")
    due_on = models.DateField(help_text="By then it is to be cleared up.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=200, blank=True)
    cause = models.TextField(blank=True)
    resolution = models.TextField(blank=True)

    class Meta:
        default_permissions = ("view", "change")
        ordering = ("closed_at", "due_on", "id")
        indexes = (models.Index(fields=("due_on",), condition=models.Q(closed_at=None), name="l2l_finding_due"),)
        constraints = [
            models.UniqueConstraint(fields=("kind", "subject"), condition=models.Q(closed_at=None), name="l2l_finding_open_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    def is_overdue(self, today: date) -> bool:
        return self.is_open and self.due_on < today
