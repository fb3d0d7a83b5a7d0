"""The day's head over all chains, signed, and sent to somebody outside: whoever rewrites a chain
later cannot rewrite that mail (P8, P13)."""

from __future__ import annotations

from typing import Any

from django.db import models

from audit.fields import CanonicalJSONField
from audit.models.evidence import AppendedModel
from audit.registry import protect


@protect(system=True)
class Anchor(AppendedModel):
    """`document` is the signed text that went out: day, root, the evidence trail's number and digest, how many chains. `heads` are the
    lines of the chains that moved since the anchor before: `stream number digest`, sorted; the root runs on over them."""

    day = models.DateField(unique=True)
    at = models.DateTimeField()
    root = models.CharField(max_length=64)
    heads = models.TextField(blank=True)
    document: Any = CanonicalJSONField()

    class Meta:
        default_permissions = ("view",)
        ordering = ("-day",)

    def __str__(self) -> str:
        return f"{self.day} {self.root[:16]}"


class AnchoredHead(models.Model):
    """The number up to which a chain is in an anchor: bookkeeping, to tell which chains moved. Lost (as after a recovery), the next anchor
    lists every chain."""

    stream = models.UUIDField(primary_key=True)
    number = models.BigIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.stream} {self.number}"
