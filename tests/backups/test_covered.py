"""Which seconds each location covers, from rows that say what was shipped and which sets are whole where."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import JournalRow, Stream
from backups.hot import covered
from backups.hot.covered import NO_BASE, Reach, Silence
from backups.models import BackupSet, Blob, Copy, HotState, Location, Segment, SegmentCopy, Timeline

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 10, 14, tzinfo=UTC)
FIRST = START - timedelta(days=40)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


@pytest.fixture
def places() -> dict[str, Location]:
    named = (("primary", False), ("offsite", True))
    return {name: Location.objects.create(name=name, url=f"file:///{name}", offsite=off, position=n) for n, (name, off) in enumerate(named)}


@pytest.fixture
def stream() -> Stream:
    found = Stream.objects.create(name="acme")
    JournalRow.objects.create(stream=found, model="x.y", history_id=1, transaction=uuid.uuid4(), written_at=FIRST, number=1)
    return found


def a_set(stream: Stream, places: Iterable[Location], *, segment: int | None, seconds: float) -> BackupSet:
    """Whole at these places; `segment` None is a set from before changes had numbers."""
    found = BackupSet.objects.create(
        stream=stream,
        state=BackupSet.State.MADE,
        night=date(2026, 3, 9),
        started_at=at(seconds),
        snapshot_at=at(seconds),
        segment=segment,
        journal_number=segment and 1,
        journal_at=at(seconds) if segment is not None else None,
    )
    envelope = Blob.objects.create(
        stream=stream, kind="envelope", state="stored", name=f"{found.pk}.json", sha256="a" * 64, size=9, made_by=found
    )
    for place in Location.objects.all():
        Copy.objects.create(blob=envelope, location=place, state="present" if place in places else "owed")
    return found


def segments(numbers: Iterable[int], places: dict[str, Location], *, owed: dict[str, set[int]] | None = None, step: float = 10) -> None:
    """Segment n is made n steps after the start; its `until` is a second before."""
    for number in numbers:
        made = at(number * step)
        found = Segment.objects.create(number=number, epoch=1, name=f"hot/{number}", made_at=made, until=made - timedelta(seconds=1))
        for name, place in places.items():
            durable = None if number in (owed or {}).get(name, set()) else made
            SegmentCopy.objects.create(segment=found, location=place, durable_at=durable)


def test_from_the_first_change_to_the_newest_segment(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments(range(1, 6), places)
    assert covered.reaches(stream.pk) == [
        Reach("primary", False, FIRST, at(49)),
        Reach("offsite", True, FIRST, at(49)),
    ]
    reach = covered.reaches(stream.pk)[0]
    assert [reach.holds(moment) for moment in (FIRST - timedelta(seconds=1), FIRST, at(49), at(50))] == [False, True, True, False]


def test_a_location_that_is_owed_a_segment_covers_the_seconds_before_it(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments(range(1, 8), places, owed={"offsite": {1, 5, 7}})
    primary, offsite = covered.reaches(stream.pk)
    assert (primary.until, primary.ends) == (at(69), "")
    assert (offsite.until, offsite.ends) == (
        at(39),
        "Segment 5, made 10 Mar 2026, 14:00:50 UTC, is owed to it, and is brought there by itself.",
    )


def test_a_newer_set_covers_what_stood_behind_a_gap(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments([*range(1, 5), *range(6, 9)], places)
    gap = covered.reaches(stream.pk)[0]
    assert (gap.until, gap.ends) == (at(39), "Segment 5 is missing: the next nightly set covers what is behind it.")
    a_set(stream, [places["primary"]], segment=7, seconds=75)
    primary, offsite = covered.reaches(stream.pk)
    assert (primary.until, primary.ends) == (at(79), "")
    assert offsite == Reach("offsite", True, FIRST, at(39), gap.ends)


def test_a_timeline_may_leave_numbers_out(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments([1, 2, 3, 6, 7], places)
    assert covered.reaches(stream.pk)[0].until == at(29)
    Timeline.objects.create(number=2, started_at=at(55), started_by="olga", reason="a test", first_segment=6)
    assert covered.reaches(stream.pk)[0] == Reach("primary", False, FIRST, at(69))


def test_what_was_removed_is_not_missing(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments([6, 7], places)
    HotState.objects.create(removed_to=4)
    assert covered.reaches(stream.pk)[0].ends.startswith("Segment 5 is missing")
    HotState.objects.update(removed_to=5)
    assert covered.reaches(stream.pk)[0] == Reach("primary", False, FIRST, at(69))


def test_what_a_set_holds_by_itself_is_covered_without_any_segment(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=0, seconds=22)
    assert covered.reaches(stream.pk)[0] == Reach("primary", False, FIRST, at(22))


def test_without_a_set_to_go_on_from_no_second_is_covered(stream: Stream, places: dict[str, Location]) -> None:
    a_set(stream, places.values(), segment=None, seconds=22)
    segments(range(1, 4), places)
    assert covered.reaches(stream.pk)[0] == Reach("primary", False, FIRST, None, NO_BASE)
    assert covered.reaches(uuid.uuid4())[0] == Reach("primary", False, None, None, NO_BASE)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    there=st.sets(st.integers(min_value=1, max_value=9)),
    owed=st.sets(st.integers(min_value=1, max_value=9)),
    base=st.integers(min_value=0, max_value=9),
)
def test_no_second_behind_a_gap_is_promised(
    stream: Stream, places: dict[str, Location], there: set[int], owed: set[int], base: int
) -> None:
    Segment.objects.all().delete()
    BackupSet.objects.all().delete()
    a_set(stream, places.values(), segment=base, seconds=base * 10 + 5)
    segments(sorted(there), places, owed={"primary": owed})
    expected = at(base * 10 + 5)
    for number in range(base + 1, 10):
        if number not in there or number in owed:
            break
        expected = at(number * 10 - 1)
    assert covered.reaches(stream.pk)[0].until == expected


def test_silences_are_told_as_far_as_they_are_asked_for(places: dict[str, Location]) -> None:
    segments([1, 2, 3], places, step=60)
    segments([4], places, step=150)
    segments([5, 6], places, step=151)
    assert covered.silences(at(0), at(10_000)) == [
        Silence(at(179), at(600)),
        Silence(at(599), at(755)),
        Silence(at(754), at(906)),
    ]
    assert covered.silences(at(0), at(599)) == []
    assert covered.silences(at(300), at(700)) == [Silence(at(179), at(600))]
    assert covered.silences(at(2000), at(3000)) == []


def test_what_is_too_much_is_not_searched_for_silences(places: dict[str, Location], monkeypatch: pytest.MonkeyPatch) -> None:
    segments([1, 2, 3], places, step=200)
    monkeypatch.setattr(covered, "MOST_SEGMENTS", 2)
    assert covered.silences(at(0), at(10_000)) is None
    assert covered.silences(at(300), at(10_000)) == [Silence(at(199), at(400)), Silence(at(399), at(600))]


def test_the_statements_do_not_grow(stream: Stream, places: dict[str, Location], django_assert_num_queries: Any) -> None:
    a_set(stream, places.values(), segment=2, seconds=22)
    segments(range(1, 4), places)
    with CaptureQueriesContext(connection) as few:
        covered.reaches(stream.pk)
    for number in range(20):
        a_set(stream, places.values(), segment=number, seconds=number)
    segments(range(4, 60), places)
    with django_assert_num_queries(len(few)):
        covered.reaches(stream.pk)
