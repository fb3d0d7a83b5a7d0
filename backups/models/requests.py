"""What of the backups takes two people."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

import audit
from audit.two_person import TwoPersonRequest
from subscriptions.models import Customer


@audit.protect(system=True)
class PolicyChangeRequest(TwoPersonRequest):
    """The fields of the next version of the policy, as `backups.policies.change_policy` takes them."""

    changes: Any = audit.CanonicalJSONField()

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "policy change request"
        ordering = ("-requested_at",)


@audit.protect(system=True)
class LiveRestoreRequest(TwoPersonRequest):
    """A customer's live tables as they were at a moment. It has ids, counts and digests alone: what would change is computed when it is
    looked at, and never kept here (this is the system stream)."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    state_at = models.DateTimeField("state of", help_text="The moment whose state is brought back.")
    set_id = models.UUIDField("from the set", null=True, blank=True, help_text="None when any second was asked for.")
    only_model = models.CharField("only", max_length=100, blank=True, help_text="app.model; empty for everything.")
    only_keys: Any = audit.CanonicalJSONField(default=list, blank=True, help_text="The primary keys of the one item; empty for all rows.")
    counts: Any = audit.CanonicalJSONField(default=dict, blank=True, help_text="For each model how many rows are added, changed, removed.")

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "live restore"
        ordering = ("-requested_at",)


class LiveRestore(models.Model):
    """The carrying out of an approved request, by one process at a time. Bookkeeping: it is never journaled."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        MOVED = "moved", "not what was approved"
        FAILED = "failed", "failed"

    request = models.OneToOneField(LiveRestoreRequest, on_delete=models.PROTECT, primary_key=True, related_name="carrying_out")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    queued_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    started_at = models.DateTimeField(null=True)
    frozen_at = models.DateTimeField(null=True, help_text="Since when nobody else could write, in the last attempt.")
    ended_at = models.DateTimeField(null=True)
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    progress = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict, help_text="For each model how many rows were added, changed, removed.")
    files = models.PositiveIntegerField(default=0, help_text="Files that were put back into the upload storage.")
    trouble = models.CharField(max_length=1000, blank=True)

    def __str__(self) -> str:
        return f"live restore {self.pk}"

    @property
    def stream_id(self) -> uuid.UUID:
        return self.request.customer_id
