"""Every folder, scratch database or package with a customer's data that left the system (design section 8)."""

from __future__ import annotations

from django.db import models

from subscriptions.models.customer import Customer


class Export(models.Model):
    """Who took what, why, where to, with which digest, until when; `removed_at` when that copy was seen to be gone."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="exports")
    what = models.CharField(max_length=200)
    by = models.CharField(max_length=200)
    reason = models.TextField(blank=True)
    path = models.TextField()
    sha256 = models.CharField("SHA-256 of restore.json", max_length=64, blank=True)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-made_at",)

    def __str__(self) -> str:
        return f"{self.what} ({self.made_at:%Y-%m-%d})"
