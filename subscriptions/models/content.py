"""The customer's own data: records, uploads, links. Three protected models among any number (design section 2)."""

from __future__ import annotations

from django.db import models

import audit
from subscriptions.models.customer import Customer


@audit.protect(customer="customer", reference="reference")
class DataRecord(audit.TrackedModel):
    """One record of some kind (a product, a work order), called by a reference that is unique within its kind."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="records", db_index=False)
    kind = models.CharField(max_length=100)
    reference = models.CharField(max_length=200)
    data = audit.CanonicalJSONField(default=dict)

    class Meta:
        verbose_name = "data record"
        indexes = [models.Index(fields=("customer", "id"), name="l2l_record_customer")]
        constraints = [models.UniqueConstraint(fields=("customer", "kind", "reference"), name="l2l_record_reference")]

    def __str__(self) -> str:
        return f"{self.kind} {self.reference}"


@audit.protect(customer="customer", reference="name")
class UploadedContent(audit.TrackedModel):
    """One uploaded file under the customer's own name for it; every version's content is kept."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="uploads", db_index=False)
    name = models.CharField(max_length=500, help_text="The customer's name for it, folders included.")
    file = audit.TrackedFileField()
    sha256 = models.CharField("SHA-256", max_length=64, editable=False)
    size = models.PositiveBigIntegerField("bytes", editable=False, default=0)
    content_type = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "upload"
        indexes = [models.Index(fields=("customer", "id"), name="l2l_upload_customer")]
        constraints = [models.UniqueConstraint(fields=("customer", "name"), name="l2l_upload_name")]

    def __str__(self) -> str:
        return self.name


@audit.protect(customer="customer", reference="reference")
class Link(audit.TrackedModel):
    """A link: its text and address are kept and tracked; what stands at the address is not ours and not backed up."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="links", db_index=False)
    reference = models.CharField(max_length=200)
    title = models.CharField(max_length=500, blank=True)
    url = models.CharField("address", max_length=2000)

    class Meta:
        indexes = [models.Index(fields=("customer", "id"), name="l2l_link_customer")]
        constraints = [models.UniqueConstraint(fields=("customer", "reference"), name="l2l_link_reference")]

    def __str__(self) -> str:
        return self.title or self.reference
