"""Whose data it is, and what was agreed."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models, transaction

import audit
from audit import clock
from audit.errors import BypassRefused
from audit.tracked import TrackedQuerySet
from subscriptions.terms import AGREED, SubscriptionTerms

CODE = RegexValidator(r"\A[a-z][a-z0-9-]{1,30}[a-z0-9]\Z", "3 to 32 small letters, digits and hyphens, beginning with a letter.")


class CustomerQuerySet(TrackedQuerySet["Customer"]):
    def visible_to(self, user: Any) -> CustomerQuerySet:
        """The customers whose data this person may see: all with the right `view_all_customers`, else those that they manage."""
        if user.has_perm("l2l_subscriptions.view_all_customers"):
            return self
        return self.filter(account_manager=user.pk) if user.is_active else self.none()

    def by_code(self, code: str) -> Customer:
        """The customer of that short code; `Customer.DoesNotExist` with a message that says what to do."""
        found = self.filter(code=code).first()
        if found is None:
            raise Customer.DoesNotExist(f"There is no customer {code!r}. 'manage.py add_customer {code} --name NAME' adds one.")
        return found


@audit.protect(system=True, reference="code")
class Customer(audit.TrackedModel):
    """`id` and `code` never change and are never used again: they stand in every path and key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    code = models.CharField("short code", max_length=32, unique=True, validators=[CODE])
    name = models.CharField(max_length=200)
    zone = models.CharField("time zone", max_length=64, default="UTC", help_text="Deadlines are shown in this zone, e.g. Europe/Berlin.")
    account_manager = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="Sees and looks after this customer.",
    )
    created_at = models.DateTimeField(default=clock.now, editable=False)

    objects = CustomerQuerySet.as_manager()

    class Meta:
        ordering = ("code",)
        permissions = [
            ("view_all_customers", "Can see every customer"),
            ("hand_over_customer", "Can hand customers over to another account manager"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.code})"

    def clean(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError({"zone": f"There is no time zone {self.zone!r}; write it like Europe/Berlin."}) from None


class SubscriptionQuerySet(TrackedQuerySet["Subscription"]):
    def tracked_update(self, objects: Iterable[Any]) -> list[Any]:
        given = list(objects)
        with transaction.atomic():
            _refuse_other_terms(given)
            return super().tracked_update(given)

    def delete(self) -> NoReturn:
        _refuse_deletion()

    def tracked_delete(self) -> NoReturn:
        _refuse_deletion()


@audit.protect(system=True, reference="agreement_number")
class Subscription(audit.TrackedModel):
    """One contract with its dates and agreed terms. An empty agreed term means the standard one.

    The terms of a stored one are written by `subscriptions.term_requests` alone; it is never deleted, nor given to another customer.
    """

    class ReturnFormat(models.TextChoices):
        CSV_AND_JSON = "csv+ndjson", "CSV and NDJSON in a BagIt bag"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="subscriptions")
    agreement_number = models.CharField(max_length=64, unique=True)
    plan = models.CharField(max_length=100, blank=True)
    start = models.DateField()
    end = models.DateField("last day", null=True, blank=True, help_text="Empty while it runs without an agreed end.")
    agreed_retention_years = models.PositiveSmallIntegerField(
        "years that data is kept",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="When the agreement says so; empty: for the subscription or 20 years, whichever is first.",
    )
    agreed_destruction_days = models.PositiveSmallIntegerField(
        "days until destruction",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(365)],
        help_text="After the receipt of the returned data, when the agreement says so; empty: 30.",
    )
    return_format = models.CharField(max_length=20, choices=ReturnFormat, default=ReturnFormat.CSV_AND_JSON)
    return_days = models.PositiveSmallIntegerField(default=30, help_text="Days within which the data is returned after the end.")
    deemed_receipt_allowed = models.BooleanField(default=False, help_text="The agreement lets silence count as receipt, after notice.")
    notice_contacts = models.TextField(blank=True, help_text="Who gets contract notices: one e-mail address a line.")
    document = audit.TrackedFileField("agreement document", blank=True, digest_field="document_sha256", size_field="document_size")
    document_sha256 = models.CharField(max_length=64, blank=True, editable=False)
    document_size = models.PositiveBigIntegerField(default=0, editable=False)

    objects = SubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ("customer", "start")
        constraints = [
            models.CheckConstraint(condition=models.Q(end=None) | models.Q(end__gte=models.F("start")), name="l2l_subscription_dates"),
        ]

    def __str__(self) -> str:
        return f"{self.agreement_number} ({self.customer.code})"

    def clean(self) -> None:
        if self.start and self.end and self.end < self.start:
            raise ValidationError({"end": "The last day lies before the start."})

    def save(self, **kwargs: Any) -> None:
        with transaction.atomic():
            _refuse_other_terms([self])
            super().save(**kwargs)

    def save_terms(self) -> None:
        """For `subscriptions.term_requests`, which decides whether and when they may change."""
        super().save()

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse_deletion()

    @property
    def terms(self) -> SubscriptionTerms:
        """What `subscriptions.terms` decides from."""
        return SubscriptionTerms(
            agreement_number=self.agreement_number,
            start=self.start,
            end=self.end,
            agreed_retention_years=self.agreed_retention_years,
            agreed_destruction_days=self.agreed_destruction_days,
        )


def _refuse_other_terms(given: Iterable[Subscription]) -> None:
    """Held against what is stored now, not against what was loaded: an old instance would bring back terms that were changed since."""
    by_key = {one.pk: one for one in given if one.pk is not None}
    for stored in Subscription.objects.select_for_update().filter(pk__in=by_key).order_by("pk"):
        new = by_key[stored.pk]
        if new.customer_id != stored.customer_id:
            raise BypassRefused(
                f"The subscription {stored.agreement_number} stays with its customer: its terms are what was promised to it."
            )
        differing = [name for name in AGREED if getattr(new, name) != getattr(stored, name)]
        if differing:
            raise BypassRefused(
                f"The terms of {stored.agreement_number} ({', '.join(differing)}) are not saved like other fields. Change them with "
                "subscriptions.term_requests: change_at_once() where nothing becomes shorter, request_change() and another person's "
                "approval where something does. If you did not change them, load the row again: somebody else did."
            )


def _refuse_deletion() -> NoReturn:
    raise BypassRefused(
        "A subscription is never deleted: of several the longest counts, so that without it data could go sooner. "
        "Give it an earlier last day with subscriptions.term_requests.request_change()."
    )
