"""The audit trail as CSV: one line for each value that a change gave or took, to be sorted and filtered; nothing is shortened."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from l2l.reports.periods import local
from l2l.reports.spreadsheet import csv_file
from l2l.reports.trail import NOTES, Change, Trail

HEADS = (
    "number",
    "when_local",
    "when_utc",
    "by_service_clock_utc",
    "model",
    "item",
    "key",
    "what",
    "field",
    "old",
    "new",
    "who",
    "through",
    "why",
    "note",
    "transaction",
    "segment",
    "leaf_sha256",
    "chain_sha256",
)


def pieces(trail: Trail, told: Callable[[Change], None] = lambda _: None) -> Iterator[bytes]:
    """The file, some hundred KiB at a time; `told` hears of each change."""
    return csv_file(HEADS, _rows(trail, told))


def _rows(trail: Trail, told: Callable[[Change], None]) -> Iterator[tuple[object, ...]]:
    for change in trail.changes():
        told(change)
        when = (local(change.at, trail.customer.zone), local(change.at, "UTC"), local(change.dated, "UTC") if change.dated else "")
        before = (change.number, *when, change.model, change.item, change.key)
        behind = (change.actor, change.source, change.reason, NOTES.get(change.what, ""))
        proof = (change.transaction, change.segment, change.leaf, change.digest)
        for value in change.values:
            yield (*before, change.what, value.field, value.old, value.new, *behind, *proof)
        if not change.values:
            yield (*before, change.what, "", "", "", *behind, *proof)
