"""All that a database has of a stream, in a form that can be compared; also from inside of a scratch installation."""

from __future__ import annotations

import uuid
from typing import Any

from django.db import models

from audit import registry, rows
from audit.models import JournalRow


def content_of(stream: uuid.UUID) -> dict[str, list[str]]:
    """All that the database has of a stream, as canonical lines: rows, history and journal of each model."""
    found: dict[str, list[str]] = {}
    for one in registry.of_stream(stream):
        history: models.QuerySet[Any] = models.QuerySet(one.history_model)
        found[f"rows/{one.label}"] = sorted(rows.instance_json(row) for row in one.rows(stream))
        found[f"history/{one.label}"] = sorted(rows.instance_json(row) for row in history.filter(history_stream=stream))
    found["journal"] = sorted(rows.instance_json(row) for row in JournalRow.objects.filter(stream=stream))
    return found
