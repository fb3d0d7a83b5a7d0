"""The filter by customer, for whatever belongs to a stream."""

from __future__ import annotations

from django.db import models

from backups.models import Copy
from subscriptions.admin import CustomerFilter


class StreamFilter(CustomerFilter):
    """One customer's sets, objects or copies."""

    def path(self, model: type[models.Model]) -> str:
        return "blob__stream" if model is Copy else "stream"
