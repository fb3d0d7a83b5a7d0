"""Where a change is kept, as the history page of its object says it: its number, its segment, and at which locations it is durable (P8)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime

from audit.history_pages import Kept
from audit.models import JournalRow
from audit.moments import in_utc, in_utc_to_the_second
from backups.models import BackupSet, SegmentCopy

# (number, moment) of sets, oldest first.
Sets = Sequence[tuple[int, datetime]]


def kept(label: str, history_ids: Sequence[int]) -> dict[int, Kept]:
    """For each of these history rows of one model. Three queries and one for each stream, whatever their number."""
    rows = list(JournalRow.objects.filter(model=label, history_id__in=history_ids))
    copies = _copies({row.segment for row in rows if row.segment is not None})
    sets = {stream: _sets(stream) for stream in {row.stream_id for row in rows if row.number is not None}}
    return {row.history_id: _kept(row, copies.get(row.segment or 0, []), sets.get(row.stream_id, [])) for row in rows}


def _copies(segments: Iterable[int]) -> dict[int, list[SegmentCopy]]:
    found: dict[int, list[SegmentCopy]] = {}
    copies = SegmentCopy.objects.filter(segment__in=segments, location__in_force=True).select_related("location")
    for copy in copies.order_by("location__position"):
        found.setdefault(copy.segment_id, []).append(copy)
    return found


def _sets(stream: uuid.UUID) -> Sets:
    protected = BackupSet.objects.filter(
        stream=stream, state=BackupSet.State.MADE, protected_at__isnull=False, journal_number__isnull=False
    )
    moments = protected.order_by("snapshot_at").values_list("journal_number", "snapshot_at")
    return [(number, moment) for number, moment in moments if number is not None and moment is not None]


def _kept(row: JournalRow, copies: Sequence[SegmentCopy], sets: Sets) -> Kept:
    if row.number is None:
        return Kept(None, None, (("warn", "waiting to be shipped"),))
    since = next((moment for number, moment in sets if number >= (row.number or 0)), None)
    words = [_of_copy(copy) for copy in copies]
    if since is not None:
        words.append(("good", f"in every set since {in_utc(since)}"))
    return Kept(row.number, row.segment, tuple(words) or (("bad", "in no segment and no set that is known"),))


def _of_copy(copy: SegmentCopy) -> tuple[str, str]:
    if copy.durable_at is None:
        return "warn", f"owed to {copy.location.name}"
    return "good", f"durable at {copy.location.name} since {in_utc_to_the_second(copy.durable_at)}"
