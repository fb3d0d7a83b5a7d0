"""What tests read back: the history of a row, and the journal of a customer."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync

from audit import registry
from audit.models import JournalRow


def history(model: Any, **columns: Any) -> list[Any]:
    """History rows, oldest first."""
    return list(registry.of(model).history_model.objects.filter(**columns).order_by("history_id"))


def types(model: Any, **columns: Any) -> str:
    """`+~-`: what happened, oldest first."""
    return "".join(row.history_type for row in history(model, **columns))


def journal_agrees(model: Any) -> bool:
    """One journal row per history row, with the same customer and transaction."""
    rows = history(model)
    journal = JournalRow.objects.filter(model=model._meta.label_lower).values_list("history_id", "stream_id", "transaction")
    return sorted(journal) == sorted((row.history_id, row.history_stream, row.history_transaction) for row in rows)


def waited(call: Any, *args: Any, **kwargs: Any) -> Any:
    """The result of an async method, whose marking a manager hides."""

    async def work() -> Any:
        return await call(*args, **kwargs)

    return async_to_sync(work)()
