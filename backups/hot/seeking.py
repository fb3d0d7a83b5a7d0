"""Where the rows from a moment on begin in a table that is numbered in the order of time: found by halving, however many rows there are.

All moments are sought in one statement, in about twenty looks into an index each. Nothing is counted: how many changes a stretch of time
has is the difference of two numbers. Changes are numbered in the order of whole transactions, whose times may cross by as long as they
took: to that extent a number stands on one side of a moment or on the other.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from django.db import connection

from audit.models import JournalRow
from backups.models import Segment, Timeline
from backups.statements import ask

_OF_CHANGES = f"SELECT written_at FROM {JournalRow._meta.db_table} WHERE stream_id = %s AND number >= (lo + hi) / 2 ORDER BY number LIMIT 1"  # noqa: S608
_OF_SEGMENTS = f"SELECT made_at FROM {Segment._meta.db_table} WHERE number >= (lo + hi) / 2 ORDER BY number LIMIT 1"  # noqa: S608


def changes_from(stream: uuid.UUID, moments: Sequence[datetime]) -> list[int]:
    """For each moment the first number of the stream whose change was written then or later; one behind the last where there is none."""
    numbered = JournalRow.objects.filter(stream=stream, number__isnull=False)
    last = numbered.order_by("-number").values_list("number", flat=True).first()
    return _sought(_OF_CHANGES, [stream], moments, 1, last) if last else [1] * len(moments)


def segments_from(moments: Sequence[datetime]) -> list[int]:
    """For each moment the first segment that was made then or later; one behind the last where there is none."""
    ends = [Segment.objects.order_by(order).values_list("number", flat=True).first() for order in ("number", "-number")]
    first, last = ends
    return _sought(_OF_SEGMENTS, [], moments, first, last) if first is not None and last is not None else [1] * len(moments)


def changes_between(stream: uuid.UUID, numbers: Sequence[int]) -> list[int]:
    """How many changes lie between each two of the rising numbers, less those that belong to an older timeline alone."""
    skipped = _skipped(stream)
    return [max(end - start - sum(_overlap(start, end, *one) for one in skipped), 0) for start, end in pairwise(numbers)]


def _skipped(stream: uuid.UUID) -> list[tuple[int, int]]:
    """The numbers that this database never had: for each fork of the stream the first of them, and the one behind the last."""
    forks = [timeline.forks[str(stream)] for timeline in Timeline.objects.all() if str(stream) in timeline.forks]
    return [(number + 1, highest + 1) for number, _, highest in forks]


def _overlap(start: int, end: int, first: int, behind: int) -> int:
    return max(min(end, behind) - max(start, first), 0)


def _sought(probe: str, values: Sequence[object], moments: Sequence[datetime], first: int, last: int) -> list[int]:
    typed = ("%s::int", "%s::timestamptz", "%s::bigint") if connection.vendor == "postgresql" else ("%s", "%s", "%s")
    number, moment, bound = typed
    asked = ", ".join(f"({number}, {moment})" for _ in moments)
    statement = (
        f"WITH RECURSIVE asked(n, t) AS (VALUES {asked}), "  # noqa: S608  (placeholders alone)
        f"halving(n, t, lo, hi) AS (SELECT n, t, {bound}, {bound} FROM asked UNION ALL SELECT n, t, "
        f"CASE WHEN ({probe}) < t THEN (lo + hi) / 2 + 1 ELSE lo END, CASE WHEN ({probe}) < t THEN hi ELSE (lo + hi) / 2 END "
        "FROM halving WHERE lo < hi) SELECT lo FROM halving WHERE lo >= hi ORDER BY n"
    )
    given = [value for at, moment_ in enumerate(moments) for value in (at, moment_)]
    return [int(lo) for (lo,) in ask(statement, *given, first, last + 1, *values, *values)]
