"""A customer's content, near (a record) and far (a downtime, two foreign keys away)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from subscriptions.models import DataRecord
from tests.factory.models import Downtime, Line, Site

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def record(acme: Any) -> DataRecord:
    return DataRecord.objects.create(customer=acme, kind="product", reference="p1", data={"name": "Saddle"})


@pytest.fixture
def line(acme: Any) -> Line:
    site = Site.objects.create(customer=acme, name="Hamburg")
    return Line.objects.create(site=site, name="Frames")


@pytest.fixture
def downtime(line: Line) -> Downtime:
    return Downtime.objects.create(line=line, began_at=NOON, details={"why": "jam"})
