"""For whom customers' keys are wrapped, who decided it, and the proof that the escrow key still opens them (design section 5)."""

from __future__ import annotations

from typing import Any

from django.db import models

import audit
from audit.two_person import TwoPersonRequest


@audit.protect(system=True)
class KeyChangeRequest(TwoPersonRequest):
    """Another recipient, one fewer, or another master key: it can expose everything, or lose it. Public halves of keys alone stand here."""

    class Deed(models.TextChoices):
        ADD = "add-recipient", "add a recipient"
        REMOVE = "remove-recipient", "remove a recipient"
        ROTATE = "rotate-master", "rotate the online master"
        REPLACE = "replace-master", "replace the online master that was lost"

    deed = models.CharField(max_length=20, choices=Deed)
    name = models.CharField("recipient", max_length=40, blank=True)
    recipient = models.CharField("public half", max_length=100, blank=True, help_text="age1…")

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "change of keys"
        verbose_name_plural = "changes of keys"
        ordering = ("-requested_at",)


@audit.protect(system=True)
class KeyRingVersion(audit.TrackedModel):
    """Who can open the keys of one wrapping; the one with the highest number is in force. Nothing changes or removes one.

    `recipients` are [name, public half] beside the online master, the escrow first: age itself tells nobody for whom a file is.
    """

    wrapping = models.PositiveIntegerField(unique=True)
    online = models.CharField("online master", max_length=100, help_text="Its public half.")
    recipients: Any = audit.CanonicalJSONField()
    since = models.DateTimeField("in force since")
    made_by = models.CharField(max_length=200)
    approved_by = models.CharField(max_length=200, blank=True)
    reason = models.TextField(blank=True)
    request = models.PositiveBigIntegerField(null=True, blank=True, help_text="The request that asked for it.")

    class Meta:
        verbose_name = "key ring"
        default_permissions = ("view",)
        permissions = (("operate_keys", "Can renew customers' keys, make recovery kits and destroy retired masters"),)
        ordering = ("-wrapping",)

    def __str__(self) -> str:
        return f"wrapping {self.wrapping}"

    @property
    def names(self) -> list[str]:
        """Who can open it, the online master first."""
        return ["online", *(name for name, _ in self.recipients)]


@audit.protect(system=True)
class EscrowDrill(audit.TrackedModel):
    """Somebody brought a recipient's secret half, and with it alone wrapped keys were opened at each location, and an object under each."""

    class Result(models.TextChoices):
        PASSED = "passed", "passed"
        INCOMPLETE = "incomplete", "not complete"
        FAILED = "failed", "failed"

    recipient = models.CharField(max_length=40, help_text="Whose secret half it was.")
    wrapping = models.PositiveIntegerField(help_text="The wrapping in force then.")
    drilled_at = models.DateTimeField()
    drilled_by = models.CharField(max_length=200)
    sample = models.PositiveIntegerField(null=True, blank=True, help_text="How many keys were drawn; all when empty.")
    keys = models.PositiveIntegerField(help_text="Keys that were to be opened, at each location.")
    opened = models.PositiveIntegerField(help_text="Copies of them that opened.")
    objects_opened = models.PositiveIntegerField("objects opened", help_text="Objects that such a key opened.")
    failed = models.PositiveIntegerField(help_text="Copies or objects that did not open.")
    missing = models.PositiveIntegerField(help_text="Copies that could not be tried: owed, or their location is down.")
    result = models.CharField(max_length=10, choices=Result)
    detail = models.TextField(blank=True, help_text="Names of objects and locations, a line each.")

    class Meta:
        default_permissions = ("add", "view")
        ordering = ("-drilled_at",)

    def __str__(self) -> str:
        return f"drill of {self.recipient}, {self.drilled_at:%Y-%m-%d}"
