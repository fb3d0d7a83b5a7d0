"""That somebody looked, each quarter, at who may do what, and at who else could reach the data without us (P5, CC6.2, CC6.3)."""

from __future__ import annotations

from typing import Any

from django.db import models

from audit.fields import CanonicalJSONField
from audit.models.evidence import AppendedModel
from audit.registry import protect


@protect(system=True)
class AccessReview(AppendedModel):
    """One signed-off look. `rights` is what was looked at, as it stood: each person with roles, since when, given by whom, last signed in;
    `remarks` says what was decided on whom. `digest` is of `rights` (`audit.reviews.rights.digest_of`), and is what the reviewer saw."""

    quarter = models.CharField(max_length=7, help_text="As 2026-Q4.")
    rights: Any = CanonicalJSONField()
    digest = models.CharField(max_length=64)
    remarks = models.TextField(blank=True)
    signed_off_by = models.CharField(max_length=200)
    signed_off_at = models.DateTimeField()

    class Meta:
        verbose_name = "access review"
        permissions = (("sign_off_accessreview", "Can sign off the review of access"),)
        default_permissions = ("view",)
        ordering = ("-signed_off_at",)

    def __str__(self) -> str:
        return self.quarter


@protect(system=True)
class Attestation(AppendedModel):
    """What no program of ours can list, stated by a person: who can reach a bucket, the database or the keys from outside."""

    class About(models.TextChoices):
        BUCKET = "bucket", "a location's bucket or folder"
        DATABASE = "database", "the database and its own backups"
        KEYS = "keys", "the key files and the escrow key"

    quarter = models.CharField(max_length=7, help_text="As 2026-Q4.")
    about = models.CharField(max_length=10, choices=About.choices)
    location = models.CharField(max_length=64, blank=True, help_text="Of a bucket: the name of the location.")
    people = models.TextField(help_text="Who can reach it, by name or role, and how that was found out.")
    attested_by = models.CharField(max_length=200)
    attested_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view", "add")
        ordering = ("-attested_at",)

    def __str__(self) -> str:
        return f"{self.quarter} {self.about} {self.location}".strip()
