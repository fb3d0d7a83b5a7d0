"""Content past its term: what is asked for by one and approved by another, what went, and what must never come back (P9)."""

from __future__ import annotations

from typing import Any

from django.db import models

import audit
from audit.two_person import TwoPersonRequest
from backups.models.catalogue import StreamQuerySet
from subscriptions.models import Customer
from subscriptions.terms import Rule


@audit.protect(system=True)
class PurgeRequest(TwoPersonRequest):
    """A customer's items that are past their term, by one rule, on a day: each goes when its own day has come. It has ids, counts and
    digests alone, for this is the system stream."""

    class Term(models.TextChoices):
        STANDARD = "standard", Rule.TWENTY_YEARS.value
        AGREED = "agreed", Rule.AGREED_TERM.value

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    term = models.CharField(max_length=10, choices=Term)
    day = models.DateField("past their term on", help_text="Items whose last day lies before this one.")
    counts: Any = audit.CanonicalJSONField(default=dict, blank=True, help_text="For each model how many items go.")

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "purge request"
        ordering = ("-requested_at",)

    @property
    def rule(self) -> Rule:
        return Rule(self.Term(self.term).label)


@audit.protect(system=True)
class Purge(audit.TrackedModel):
    """Items that went together, and the part of the suppression list that keeps them away: written in the transaction that removes them.

    `digests` are 16 bytes for each item and stored file, keyed by the customer's key of that number (`backups.purge.suppression`): whoever
    has the key can tell whether an item is meant, nobody can tell which items are. `numbers` are the changes whose content went with them
    (`backups.idset`), `total` is what the items add to the sum that the approval binds to.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    request: Any = models.ForeignKey(PurgeRequest, on_delete=models.PROTECT, related_name="+")
    part = models.PositiveIntegerField(help_text="Which part of what was asked for, from 1.")
    purged_at = models.DateTimeField("rows removed")
    finished_at = models.DateTimeField("read back", null=True, help_text="When its files were gone too, and nothing of it was found.")
    counts: Any = audit.CanonicalJSONField(help_text="For each model: items, versions in history, stored files.")
    file_bytes = models.PositiveBigIntegerField(default=0)
    newest_history = models.BigIntegerField(help_text="Versions with a later id are of items that were made anew under the same key.")
    key_number = models.PositiveIntegerField()
    total = models.CharField(max_length=64)
    digests = models.BinaryField()
    numbers = models.BinaryField()

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=("request", "part"), name="l2l_purge_part_once")]
        indexes = [models.Index(fields=("customer", "purged_at"), name="l2l_purge_customer")]

    def __str__(self) -> str:
        return f"{self.customer.code} {self.request_id}.{self.part}"


class DoomedFile(models.Model):
    """A stored file whose rows are gone: it is to be removed. Bookkeeping: the row goes with the file."""

    id = models.BigAutoField(primary_key=True)
    purge = models.ForeignKey(Purge, on_delete=models.CASCADE, related_name="doomed_files")
    model = models.CharField(max_length=100)
    field = models.CharField(max_length=100)
    name = models.CharField(max_length=200)

    def __str__(self) -> str:
        return self.name


class PurgeTry(models.Model):
    """The newest try to carry an approved request out, and what stood in its way. Bookkeeping."""

    request = models.OneToOneField(PurgeRequest, on_delete=models.CASCADE, primary_key=True, related_name="newest_try")
    tried_at = models.DateTimeField()
    trouble = models.CharField(max_length=1000, blank=True)
    passing = models.BooleanField(default=False, help_text="It only waits: the next look may do it.")

    def __str__(self) -> str:
        return f"{self.request_id} {self.tried_at}"


class TermLook(models.Model):
    """What of a customer's content was past its term when it was last looked at: for pages that show many customers. Bookkeeping."""

    stream = models.OneToOneField("l2l_audit.Stream", on_delete=models.PROTECT, primary_key=True, related_name="+")
    looked_at = models.DateTimeField()
    standard = models.PositiveBigIntegerField(default=0, help_text="Items past the standard term: they wait for a decision.")
    agreed = models.PositiveBigIntegerField(default=0, help_text="Items that an agreed term lets go within 90 days, or by now.")
    standard_from = models.DateField(null=True, help_text="Since when the first of them is.")
    agreed_from = models.DateField(null=True, help_text="When the first of them goes.")
    overdue = models.PositiveBigIntegerField(default=0, help_text="Items that should have gone: a broken promise.")
    overdue_since = models.DateField(null=True)

    objects = StreamQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.stream_id} {self.looked_at}"
