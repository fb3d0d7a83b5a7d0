"""What was certified of a customer's end (P12). Evidence: it stays when the customer's content is gone."""

from __future__ import annotations

from typing import Any

from django.db import models

import audit
from audit.errors import BypassRefused
from subscriptions.models import DeletionRequest


@audit.protect(system=True)
class Certificate(audit.TrackedModel):
    """A signed statement about a destruction. `document` is the authority, as it was issued, byte for byte: canonical JSON with its
    signature and a line end; `sha256` is of these bytes. Written once, by `backups.destroy.certificate`."""

    class Kind(models.TextChoices):
        CERTIFICATE = "certificate", "certificate of destruction"
        INTERIM = "interim", "interim statement"
        SUPPLEMENT = "supplement", "supplement after a week"

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="certificates")
    kind = models.CharField(max_length=12, choices=Kind)
    number = models.PositiveIntegerField(help_text="1 for the first statement about this request.")
    round = models.PositiveIntegerField(default=1, help_text="The round of the destruction: one more after each find.")
    document = models.TextField()
    sha256 = models.CharField("SHA-256 of the document", max_length=64, unique=True)
    issued_at = models.DateTimeField()

    class Meta:
        verbose_name = "certificate"
        default_permissions = ("view",)
        ordering = ("request", "number")
        constraints = [
            models.UniqueConstraint(fields=("request", "number"), name="l2l_certificate_number"),
            models.UniqueConstraint(
                fields=("request", "kind", "round"), condition=~models.Q(kind="interim"), name="l2l_certificate_once_a_round"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.number} of {self.request.customer.code}"

    def save(self, **kwargs: Any) -> None:
        if not self._state.adding:
            raise BypassRefused("A certificate stays as it was issued. What is found later is a statement of its own.")
        super().save(**kwargs)
