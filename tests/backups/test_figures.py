"""What is not durable yet, and who ships, from rows that say what was shipped when."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.models import JournalRow, Stream
from backups.hot import figures, loss_window
from backups.hot.durations import counted
from backups.hot.standing import Figures, Lag, Shipping, judged
from backups.models import Blob, Copy, Heartbeat, HotFile, HotState, Lease, Location, Segment, SegmentCopy

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 10, 14, 30, 5, tzinfo=UTC)


def note(location: Location, durations: list[float], at: datetime) -> None:
    with transaction.atomic():
        loss_window.note(location, durations, at)


@pytest.fixture
def places() -> dict[str, Location]:
    named = (("primary", False), ("north", True), ("south", True))
    return {
        name: Location.objects.create(name=name, url=f"file:///{name}", offsite=off, position=at) for at, (name, off) in enumerate(named)
    }


@pytest.fixture
def stream() -> Stream:
    return Stream.objects.create(name="acme")


def a_segment(number: int, seconds_ago: float, changes: int, **copies: bool | None) -> Segment:
    """With its copies: True for durable, False for owed, None for a location that does not know of it."""
    made = AT - timedelta(seconds=seconds_ago)
    found = Segment.objects.create(
        number=number,
        epoch=1,
        name=f"hot/{number}",
        made_at=made,
        until=made,
        changes=changes,
        oldest_at=made - timedelta(seconds=1) if changes else None,
    )
    for name, durable in copies.items():
        if durable is not None:
            SegmentCopy.objects.create(segment=found, location=Location.objects.get(name=name), durable_at=made if durable else None)
    return found


def in_outbox(stream: Stream, seconds_ago: float, number: int | None = None) -> JournalRow:
    key = JournalRow.objects.count() + 1
    return JournalRow.objects.create(
        stream=stream,
        model="x.y",
        history_id=key,
        transaction=uuid.uuid4(),
        written_at=AT - timedelta(seconds=seconds_ago),
        number=number,
    )


def lag_of(found: Figures, name: str) -> Lag:
    return next(place.lag for place in found.places if place.name == name)


def test_what_has_no_number_is_durable_nowhere(places: dict[str, Location], stream: Stream) -> None:
    in_outbox(stream, 3)
    in_outbox(stream, 9)
    in_outbox(stream, 900, number=1)
    found = figures.now(AT)
    assert {place.lag for place in found.places} == {Lag(changes=2, since=AT - timedelta(seconds=9))}
    assert found.nowhere_else == Lag(changes=2, since=AT - timedelta(seconds=9))


def test_each_location_lacks_what_it_is_owed(places: dict[str, Location]) -> None:
    a_segment(1, 60, 5, primary=True, north=True, south=True)
    a_segment(2, 40, 7, primary=True, north=False, south=True)
    a_segment(3, 20, 11, primary=True, north=False, south=False)
    a_segment(4, 10, 0, primary=True, north=False, south=False)
    found = figures.now(AT)
    assert lag_of(found, "primary") == Lag()
    assert lag_of(found, "north") == Lag(changes=18, since=AT - timedelta(seconds=41))
    assert lag_of(found, "south") == Lag(changes=11, since=AT - timedelta(seconds=21))
    assert found.nowhere_else == Lag(changes=11, since=AT - timedelta(seconds=21))  # segment 2 is in the south


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(copies=st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 3), max_size=8))
def test_what_stands_at_no_offsite_location(places: dict[str, Location], copies: list[tuple[bool | None, ...]]) -> None:
    Segment.objects.all().delete()
    for number, (primary, north, south) in enumerate(copies, 1):
        a_segment(number, 100 - number, 2**number, primary=primary, north=north, south=south)
    lacking = [number for number, (_, north, south) in enumerate(copies, 1) if True not in (north, south) and False in (north, south)]
    found = figures.now(AT).nowhere_else
    assert found == Lag(
        changes=sum(2**number for number in lacking), since=min((AT - timedelta(seconds=101 - number) for number in lacking), default=None)
    )


def test_a_file_is_durable_where_all_its_blobs_are(places: dict[str, Location], stream: Stream) -> None:
    blobs = [
        Blob.objects.create(stream=stream, kind="blob", state="stored", name=f"b{n}", sha256=f"{n:064}", size=9, hot=True) for n in range(3)
    ]
    for blob, north in zip(blobs, (True, False, False), strict=True):
        for name, held in (("primary", True), ("north", north), ("south", False)):
            Copy.objects.create(blob=blob, location=places[name], state="present" if held else "owed")
    a_file(stream, 50, "stored", [[blobs[0].sha256, 0, 9]])
    a_file(stream, 40, "stored", [[blobs[0].sha256, 0, 9], [blobs[1].sha256, 0, 4, blobs[1].pk]])
    a_file(stream, 30, "absent", [])
    a_file(stream, 20, "sealed", [[blobs[2].sha256, 0, 9]])
    a_file(stream, 10, "waiting", [])
    found = figures.now(AT)
    assert lag_of(found, "primary") == Lag(files=2, since=AT - timedelta(seconds=20))
    assert lag_of(found, "north") == Lag(files=3, since=AT - timedelta(seconds=40))
    assert lag_of(found, "south") == Lag(files=4, since=AT - timedelta(seconds=50))
    assert found.nowhere_else == Lag(files=3, since=AT - timedelta(seconds=40))


def a_file(stream: Stream, seconds_ago: float, state: str, parts: list[list[object]]) -> HotFile:
    number = HotFile.objects.count() + 1
    written = AT - timedelta(seconds=seconds_ago)
    return HotFile.objects.create(
        stream=stream, model="x.y", name=f"f{number}", sha256="", size=9, number=number, written_at=written, state=state, parts=parts
    )


def test_what_is_much_is_counted_up_to_a_bound_from_the_oldest_on(
    places: dict[str, Location], stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_CHANGES", 3)
    for seconds in (50, 40, 30):
        in_outbox(stream, seconds)
    assert figures.now(AT).nowhere_else == Lag(changes=3, since=AT - timedelta(seconds=50))
    in_outbox(stream, 20)
    in_outbox(stream, 10)
    assert figures.now(AT).nowhere_else == Lag(changes=3, since=AT - timedelta(seconds=50), more=True)


def test_without_an_offsite_location_everything_would_be_lost() -> None:
    Location.objects.create(name="primary", url="file:///p")
    Location.objects.create(name="gone", url="file:///g", offsite=True, in_force=False)
    found = figures.now(AT)
    assert found.nowhere_else is None and judged(found).lost == "everything"


def test_hours_and_days_of_each_location(places: dict[str, Location]) -> None:
    note(places["north"], [0.1, 0.2], AT)
    note(places["north"], [3.0], AT - timedelta(hours=1))
    note(places["north"], [70.0], AT - timedelta(hours=3))
    note(places["north"], [9000.0], AT - timedelta(days=1))
    [north] = [place for place in figures.now(AT).places if place.name == "north"]
    assert north.last_hour == counted([0.1, 0.2, 3.0]) and north.today == counted([0.1, 0.2, 3.0, 70.0])
    by_hour = loss_window.hours(AT - timedelta(days=2))[places["north"].pk]
    assert loss_window.days(by_hour) == {AT.date() - timedelta(days=1): counted([9000.0]), AT.date(): counted([0.1, 0.2, 3.0, 70.0])}


def test_who_ships_and_who_stands_by() -> None:
    assert figures.shipping(AT) == Shipping()
    lease = Lease.objects.create(
        name="hot", epoch=3, holder="a:1:1", taken_at=AT - timedelta(hours=1), expires_at=AT + timedelta(seconds=3)
    )
    HotState.objects.create(ticked_at=AT)
    for process, seconds in (("a:1:1", 1), ("b:2:2", 2), ("c:3:3", 300)):
        Heartbeat.objects.create(name="shipper", process=process, at=AT - timedelta(seconds=seconds))
    found = figures.shipping(AT)
    assert found == Shipping("a:1:1", since=lease.taken_at, ticked_at=AT, stand_bys=("b:2:2",))
    assert figures.shipping(AT + timedelta(seconds=4)).holder == ""


def test_the_figures_cost_as_many_statements_however_much_there_is(
    places: dict[str, Location], stream: Stream, django_assert_num_queries: Any
) -> None:
    a_segment(1, 40, 7, primary=True, north=False, south=False)
    with CaptureQueriesContext(connection) as few:
        figures.now(AT)
    for number in range(2, 40):
        a_segment(number, 20, 7, primary=True, north=False, south=False)
        in_outbox(stream, 10)
        note(places["north"], [0.1], AT - timedelta(hours=number % 5))
    with django_assert_num_queries(len(few)):
        figures.now(AT)


def test_the_figures_never_read_the_journal_as_a_whole(places: dict[str, Location], stream: Stream) -> None:
    """On PostgreSQL by what the statements read, once there are enough rows for the choice to matter."""
    if connection.vendor != "postgresql":
        pytest.skip("asked of PostgreSQL's planner")
    JournalRow.objects.bulk_create(
        JournalRow(stream=stream, model="x.y", history_id=key, transaction=uuid.uuid4(), written_at=AT, number=key)
        for key in range(1, 5000)
    )
    in_outbox(stream, 10)
    with CaptureQueriesContext(connection) as asked:
        figures.now(AT)
    statements = [one["sql"] for one in asked if JournalRow._meta.db_table in one["sql"]]
    assert len(statements) == 1
    with connection.cursor() as cursor:
        cursor.execute(f"ANALYZE {JournalRow._meta.db_table}")
        cursor.execute(f"EXPLAIN {statements[0]}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "l2l_journal_outbox" in plan and "Seq Scan" not in plan
