"""The end of a customer: who asked for it, what was returned, who received it, who approved (P10 to P12). Written by
`subscriptions.ending` alone. Evidence: it stays when the customer's content is destroyed, so nothing here may quote content."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

import audit
from audit.two_person import TwoPersonRequest
from subscriptions.ending.states import ENDED, State
from subscriptions.models.customer import Customer


def _person(**options: Any) -> models.ForeignKey:
    return models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, blank=True, editable=False, **options
    )


@audit.protect(system=True)
class DeletionRequest(audit.TrackedModel):
    """That a customer ends, and how far that is. `requested_by` is empty when it opened by itself because the last subscription was over.

    `acknowledged_at` is when the clock began: the receipt, the deemed receipt, or the day on which the customer waived the return.
    """

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="deletion_requests")
    state = models.CharField(max_length=12, choices=[(one.value, one.value) for one in State], default=State.REQUESTED.value)
    why = models.TextField()
    ends_on = models.DateField("last day of the last subscription", null=True, blank=True)
    requested_by = _person()
    requested_at = models.DateTimeField()
    frozen_at = models.DateTimeField(null=True, blank=True)
    waiver = audit.TrackedFileField("document of the waiver", blank=True, digest_field="waiver_sha256", size_field="waiver_size")
    waiver_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    waiver_size = models.PositiveBigIntegerField(default=0, editable=False)
    waived_by = _person()
    waived_at = models.DateTimeField(null=True, blank=True)
    acknowledged_at = models.DateTimeField("clock began", null=True, blank=True)
    approved_by = _person()
    approved_at = models.DateTimeField(null=True, blank=True)
    approval_reason = models.TextField(blank=True)
    plan_digest = models.CharField(max_length=64, blank=True)
    may_begin_at = models.DateTimeField("cooled off", null=True, blank=True)
    begun_at = models.DateTimeField("point of no return", null=True, blank=True)
    destroyed_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = _person()
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(blank=True)

    class Meta:
        verbose_name = "end of a customer"
        verbose_name_plural = "ends of customers"
        default_permissions = ("add", "view", "approve")
        permissions = [
            ("return_deletionrequest", "Can return a customer's data and record its receipt"),
            ("waive_deletionrequest", "Can record that a customer waives the return"),
        ]
        ordering = ("-requested_at",)
        constraints = [
            models.UniqueConstraint(
                fields=("customer",),
                condition=~models.Q(state=State.CANCELLED.value),
                name="l2l_ending_one_open",
                violation_error_message="The end of this customer is under way already.",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by=None) | models.Q(requested_by=None) | ~models.Q(approved_by=models.F("requested_by")),
                name="l2l_ending_two_people",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=[State.APPROVED.value, State.DESTROYING.value, State.DESTROYED.value])
                | (models.Q(approved_by__isnull=False) & ~models.Q(plan_digest="")),
                name="l2l_ending_approved",
            ),
        ]

    def __str__(self) -> str:
        return f"end of {self.customer.code}"

    @property
    def stream(self) -> uuid.UUID:
        """The customer's id."""
        return self.customer_id

    @property
    def is_open(self) -> bool:
        return State(self.state) not in ENDED


@audit.protect(system=True)
class DataReturn(audit.TrackedModel):
    """One package that was made for the customer from its final set. A fault that the customer reports makes room for the next one.

    `package_sha256` is the digest of the file as it is handed over; `manifest_sha256` that of the manifest in it, which lists each file."""

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="returns")
    number = models.PositiveIntegerField(help_text="1 for the first package, one more after each fault.")
    set_id = models.UUIDField("final set")
    package_sha256 = models.CharField("SHA-256 of the package", max_length=64)
    manifest_sha256 = models.CharField("SHA-256 of its manifest", max_length=64)
    size = models.PositiveBigIntegerField()
    file_name = models.CharField(max_length=200)
    path = models.TextField()
    encrypted_to = models.CharField("encrypted to", max_length=200, blank=True, help_text="The customer's own age recipient.")
    counts = audit.CanonicalJSONField(default=dict, blank=True)
    made_at = models.DateTimeField()
    verified_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    delivered_at = models.DateTimeField("first handed over", null=True, blank=True)
    fault = models.TextField(blank=True)
    fault_by = models.CharField(max_length=200, blank=True)
    fault_at = models.DateTimeField(null=True, blank=True)
    removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "return of data"
        verbose_name_plural = "returns of data"
        default_permissions = ("view",)
        ordering = ("request", "number")
        constraints = [
            models.UniqueConstraint(fields=("request", "number"), name="l2l_return_number"),
            models.UniqueConstraint(fields=("request",), condition=models.Q(fault_at=None), name="l2l_return_one_good"),
        ]

    def __str__(self) -> str:
        return f"package {self.number} of {self.request.customer.code}"


@audit.protect(system=True)
class Receipt(audit.TrackedModel):
    """Who at the customer verified the package, how and when; for a deemed receipt the proof that notice was given."""

    class Kind(models.TextChoices):
        STAFF = "staff", "recorded by staff"
        CUSTOMER = "customer", "given by the customer on its page"
        DEEMED = "deemed", "deemed, for the agreement lets silence count"

    data_return = models.OneToOneField(DataReturn, on_delete=models.PROTECT, related_name="receipt")
    kind = models.CharField(max_length=10, choices=Kind)
    verified_by = models.CharField("verified by, at the customer", max_length=200, blank=True)
    how = models.TextField("how it was verified", blank=True)
    verified_at = models.DateTimeField(null=True, blank=True)
    package_sha256 = models.CharField("SHA-256 of the package", max_length=64)
    recorded_by = _person()
    recorded_at = models.DateTimeField()

    class Meta:
        verbose_name = "receipt"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"receipt of {self.data_return}"


@audit.protect(system=True)
class DeemedReceiptRequest(TwoPersonRequest):
    """Two approvers let silence count as receipt, with proof that notice was given (design section 9)."""

    data_return: Any = models.ForeignKey(DataReturn, on_delete=models.PROTECT, related_name="deemed_requests")
    notice = audit.TrackedFileField("proof of notice", digest_field="notice_sha256", size_field="notice_size")
    notice_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    notice_size = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "deemed receipt"
        verbose_name_plural = "deemed receipts"
        ordering = ("-requested_at",)
        constraints = [
            *TwoPersonRequest.Meta.constraints,
            models.UniqueConstraint(
                fields=("data_return",),
                condition=models.Q(state__in=("requested", "approved")),
                name="l2l_deemed_one_open",
                violation_error_message="It is asked for already: decide on that request, or cancel it.",
            ),
        ]


@audit.protect(system=True)
class EndingNotice(audit.TrackedModel):
    """What was told whom because of a date: a reminder to the customer, an escalation, an alarm that the day of destruction nears.

    `day` counts from the hand-over for reminders, and down to the day of destruction for alarms."""

    class Kind(models.TextChoices):
        REMINDER = "reminder", "reminder of the receipt"
        ESCALATION = "escalation", "the receipt is outstanding"
        ALARM = "alarm", "the day of destruction nears"
        OVERDUE = "overdue", "destruction is overdue"

    request = models.ForeignKey(DeletionRequest, on_delete=models.PROTECT, related_name="notices")
    data_return = models.ForeignKey(DataReturn, on_delete=models.PROTECT, related_name="notices", null=True, blank=True)
    kind = models.CharField(max_length=10, choices=Kind)
    day = models.IntegerField()
    sent_to = models.TextField(blank=True, help_text="Addresses; empty where nobody could be written to.")
    noted_at = models.DateTimeField()
    trouble = models.TextField(blank=True)

    class Meta:
        verbose_name = "notice"
        default_permissions = ("view",)
        ordering = ("-noted_at",)

    def __str__(self) -> str:
        return f"{self.kind} {self.day} of {self.request.customer.code}"
