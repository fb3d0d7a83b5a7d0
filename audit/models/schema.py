"""Which columns the protected models had, version by version, and the migration under way that leads to the next one."""

from __future__ import annotations

from typing import Any

from django.db import models

from audit.fields import CanonicalJSONField
from audit.models.evidence import AppendedModel
from audit.registry import protect


@protect(system=True, reference="number")
class SchemaVersion(AppendedModel):
    """The protected models as one deployment left them. `document` is what was signed, with its signature (`audit/schema/versions.py`);
    `digest` is the SHA-256 of its member `models`. A set names the number of the version whose columns it has."""

    number = models.PositiveIntegerField(primary_key=True)
    began_at = models.DateTimeField(help_text="When the migrations that led there began: until then the version before was in force.")
    at = models.DateTimeField(help_text="When it was recorded, behind them.")
    software = models.CharField(max_length=40, blank=True)
    digest = models.CharField(max_length=64)
    document: Any = CanonicalJSONField()

    class Meta:
        verbose_name = "schema version"
        ordering = ("-number",)

    def __str__(self) -> str:
        return f"{self.number} {self.digest[:16]}"


class SchemaChange(models.Model):
    """One run of migrations over protected models, from before its first migration until the version behind it is recorded. `before` is
    what differed from history already, and so is not the migrations' doing (`audit/schema/changing.py`). Bookkeeping: never journaled."""

    id = models.BigAutoField(primary_key=True)
    begun_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    before: Any = models.JSONField(default=dict)

    class Meta:
        verbose_name = "schema change"
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"schema change {self.pk}"
