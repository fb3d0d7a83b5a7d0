"""How far the making of a customer's package is. Bookkeeping: it is never journaled. What was made stands in `DataReturn`."""

from __future__ import annotations

from django.db import models

from subscriptions.models import DeletionRequest


class ReturnWork(models.Model):
    """The work on one request while it is `returning`; the row stays for the next package, should a fault be reported."""

    class State(models.TextChoices):
        WAITING = "waiting", "waiting for the worker"
        RUNNING = "running", "being made"
        DONE = "done", "made"

    request = models.OneToOneField(DeletionRequest, on_delete=models.CASCADE, related_name="return_work")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    encrypt_to = models.CharField(max_length=200, blank=True, help_text="The customer's own age recipient; empty: not encrypted.")
    attempts = models.PositiveIntegerField(default=0, help_text="Counted when they begin.")
    holder = models.CharField("process", max_length=200, blank=True, help_text="host:pid:start of the process at work.")
    queued_at = models.DateTimeField(null=True, help_text="When it was put into the queue and not begun since.")
    next_try_at = models.DateTimeField(null=True, help_text="Not tried before.")
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    progress = models.CharField(max_length=200, blank=True)
    progress_at = models.DateTimeField(null=True)
    trouble = models.CharField(max_length=1000, blank=True, help_text="What it waits for, or why the last attempt failed.")

    class Meta:
        verbose_name = "making of a package"

    def __str__(self) -> str:
        return f"package of {self.request.customer.code}"
