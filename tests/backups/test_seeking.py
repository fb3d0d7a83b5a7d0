"""Numbers from moments, held against a plain look at all rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import JournalRow, Stream
from backups.hot import seeking
from backups.models import Segment, Timeline

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 10, tzinfo=UTC)
CAREFREE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
# SQLite's clock tells milliseconds.
offsets = st.lists(st.integers(min_value=0, max_value=4000).map(lambda ms: ms / 1000), max_size=30).map(sorted)
moments = st.lists(st.integers(min_value=-500, max_value=4500).map(lambda ms: START + timedelta(milliseconds=ms)), min_size=1, max_size=8)


@pytest.fixture
def streams() -> list[Stream]:
    return [Stream.objects.create(name=name) for name in ("acme", "bolt")]


def journal(stream: Stream, seconds: Sequence[float], *, numbers: Sequence[int] | None = None) -> None:
    JournalRow.objects.filter(stream=stream).delete()
    given_numbers = numbers or range(1, len(seconds) + 1)
    JournalRow.objects.bulk_create(
        JournalRow(
            stream=stream,
            model=stream.name,
            history_id=number,
            transaction=uuid.uuid4(),
            written_at=START + timedelta(seconds=after),
            number=number,
        )
        for number, after in zip(given_numbers, seconds, strict=True)
    )


@CAREFREE
@given(seconds=offsets, others=offsets, asked=moments)
def test_the_first_number_from_each_moment_on(
    streams: list[Stream], seconds: list[float], others: list[float], asked: list[datetime]
) -> None:
    journal(streams[0], seconds)
    journal(streams[1], others)
    JournalRow.objects.create(stream=streams[0], model="waits", history_id=1, transaction=uuid.uuid4(), written_at=START)
    found = seeking.changes_from(streams[0].pk, asked)
    JournalRow.objects.filter(model="waits").delete()
    written = [START + timedelta(seconds=after) for after in seconds]
    assert found == [1 + sum(at < moment for at in written) for moment in asked]


@CAREFREE
@given(seconds=offsets, asked=moments, first=st.integers(min_value=1, max_value=9))
def test_the_first_segment_from_each_moment_on(streams: list[Stream], seconds: list[float], asked: list[datetime], first: int) -> None:
    Segment.objects.all().delete()
    made = [START + timedelta(seconds=after) for after in seconds]
    Segment.objects.bulk_create(
        Segment(number=number, epoch=1, name=str(number), made_at=at, until=at) for number, at in enumerate(made, first)
    )
    assert seeking.segments_from(asked) == ([first + sum(at < moment for at in made) for moment in asked] if made else [1] * len(asked))


def test_all_moments_in_two_statements_however_many_changes(streams: list[Stream], django_assert_num_queries: Any) -> None:
    journal(streams[0], [number / 10 for number in range(3000)])
    asked = [START + timedelta(seconds=second) for second in range(0, 301, 5)]
    with django_assert_num_queries(2):
        found = seeking.changes_from(streams[0].pk, asked)
    assert seeking.changes_between(streams[0].pk, found) == [50] * 60


def test_numbers_of_an_older_timeline_are_not_counted(streams: list[Stream]) -> None:
    """After the database went back to number 2, numbers 3 to 7 are the old line's alone."""
    journal(streams[0], [1, 2, 3, 4], numbers=[1, 2, 8, 9])
    Timeline.objects.create(
        number=2, started_at=START, started_by="olga", reason="a test", first_segment=9, forks={str(streams[0].pk): [2, "d", 7]}
    )
    asked = [START, START + timedelta(seconds=2), START + timedelta(seconds=3.5), START + timedelta(seconds=9)]
    numbers = seeking.changes_from(streams[0].pk, asked)
    assert numbers[0] == 1 and numbers[-1] == 10
    assert seeking.changes_between(streams[0].pk, numbers) == [1, 2, 1]
    assert seeking.changes_between(streams[1].pk, [1, 10]) == [9]
