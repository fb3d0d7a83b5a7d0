"""The page of the hot backups: the one number, each location's figures, the charts, who ships; and its part of the front page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext

from audit.models import JournalRow
from backups.hot import loss_window
from backups.models import Heartbeat, HotState, Lease, Location, Segment, SegmentCopy
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
Seen = Callable[..., Any]
NOW = datetime(2026, 3, 10, 14, 30, 5, tzinfo=UTC)
PAGE = url("hotstate_changelist")


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> datetime:
    monkeypatch.setattr("audit.clock.now", lambda: NOW)
    return NOW


@pytest.fixture
def places(people: Any, now: datetime) -> dict[str, Location]:
    """A shipper leads, another stands by, and all is durable at both locations."""
    named = (("primary", False), ("offsite", True))
    found = {
        name: Location.objects.create(name=name, url=f"file:///{name}", offsite=off, position=at) for at, (name, off) in enumerate(named)
    }
    Lease.objects.create(name="hot", epoch=1, holder="one:1:1", taken_at=NOW - timedelta(hours=2), expires_at=NOW + timedelta(seconds=5))
    HotState.objects.create(last_segment=1, ticked_at=NOW - timedelta(seconds=1))
    Heartbeat.objects.create(name="shipper", process="two:2:2", at=NOW - timedelta(seconds=2))
    a_segment(1, found, 12)
    return found


def a_segment(number: int, places: dict[str, Location], changes: int, *, owed_to: tuple[str, ...] = (), ago: float = 600) -> Segment:
    made = NOW - timedelta(seconds=ago)
    found = Segment.objects.create(
        number=number,
        epoch=1,
        name=f"hot/{number}",
        made_at=made,
        until=made,
        changes=changes,
        oldest_at=made - timedelta(seconds=1),
        sections=[["00000000-0000-0000-0000-000000000000", 1, changes]],
        size=2048,
    )
    for name, location in places.items():
        SegmentCopy.objects.create(segment=found, location=location, durable_at=None if name in owed_to else made)
    return found


def note(location: Location, durations: list[float], at: datetime = NOW) -> None:
    with transaction.atomic():
        loss_window.note(location, durations, at)


@pytest.fixture
def seen(as_: As) -> Callable[..., Any]:
    """The page as that person sees it, once the evidence of their signing in is shipped too."""

    def seen_by(name: str, page: str = PAGE) -> Any:
        client = as_(name)
        JournalRow.objects.filter(number=None).update(number=F("pk"))
        return client.get(page)

    return seen_by


def words(response: Any) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def test_all_is_well(seen: Seen, places: dict[str, Location]) -> None:
    page = seen("olga")
    assert (page.context["standing"].lost, page.context["standing_kind"]) == ("nothing", "good")
    assert "nothing Every change is durable offsite." in words(page)
    assert "Leads one:1:1" in words(page) and "Stand by two:2:2" in words(page)
    assert "data-refresh" in page.content.decode()
    front = seen("olga", "/")
    assert "Would be lost now Hot backups nothing every change is durable offsite" in words(front)
    assert "Hot backups" not in {todo.label for todo in front.context["todos"]}


def test_the_one_number_is_what_no_offsite_location_has(seen: Seen, places: dict[str, Location]) -> None:
    a_segment(2, places, 30, owed_to=("offsite",), ago=99)
    places["offsite"].trouble = "it is not mounted"
    places["offsite"].save()
    page = seen("otto")
    assert "1 min 40 s 30 changes, the oldest written 10 Mar 2026, 14:28:25 UTC." in words(page)
    assert "offsite lacks 30 changes, the oldest for 1 min 40 s. It could not be used: it is not mounted. Mend the location" in words(page)
    by_name = {window.place.name: window for window in page.context["windows"]}
    assert (by_name["primary"].lacks.text, by_name["primary"].lacks.kind) == ("nothing", "good")
    assert (by_name["offsite"].lacks.text, by_name["offsite"].lacks.kind) == ("1 min 40 s", "bad")
    assert "offsite : owed" in words(page) or "offsite: owed" in words(page)
    front = seen("otto", "/")
    assert front.context["standing_kind"] == "bad"
    assert [todo.kind for todo in front.context["todos"] if todo.label == "Hot backups"] == ["bad"]


def test_the_address_of_a_location_is_for_those_who_see_locations(seen: Seen, places: dict[str, Location]) -> None:
    a_segment(2, places, 30, owed_to=("offsite",), ago=99)
    Location.objects.filter(name="offsite").update(trouble="s3://bucket refused")
    for page in (PAGE, "/"):
        assert b"s3://bucket" in seen("olga", page).content
        hidden = seen("ada", page)
        assert b"s3://bucket" not in hidden.content and "offsite lacks 30 changes" in words(hidden)


def test_the_figures_of_hour_day_and_month(seen: Seen, places: dict[str, Location]) -> None:
    note(places["primary"], [0.12] * 98 + [0.9, 7.0])
    note(places["primary"], [80.0], NOW - timedelta(hours=5))
    note(places["primary"], [3.0], NOW - timedelta(days=27))
    note(places["primary"], [3000.0], NOW - timedelta(days=28))
    window = seen("olga").context["windows"][0]
    assert (window.p50.text, window.p99.text, window.p99.kind) == ("150 ms", "1 s", "good")
    assert (window.longest.text, window.longest.kind) == ("7 s", "warn")
    assert (window.longest_today.text, window.longest_today.kind) == ("1 min 20 s", "bad")
    assert [bar.title.partition(",")[0] for bar in window.by_hour.longest] == ["10 Mar", "10 Mar"]
    assert [bar.kind for bar in window.by_hour.longest] == ["bad", "warn"]
    assert [bar.title for bar in window.by_day.longest] == [
        "11 Feb: 1 change, p50 3 s, p99 3 s, longest 3 s",
        "10 Mar: 101 changes, p50 150 ms, p99 10 s, longest 1 min 20 s",
    ]


def test_empty_states_say_what_to_do(seen: Seen, people: Any) -> None:
    page = words(seen("olga"))
    assert "There is no location. Name them in L2L_LOCATIONS, then run manage.py init." in page
    assert "Nobody. Start it with manage.py work --only shipper ; the queue ships every minute meanwhile." in page
    assert "No segment yet." in page
    Location.objects.create(name="primary", url="file:///p")
    page = words(seen("olga"))
    assert "If this machine burned now, we would lose broken everything No location is offsite." in page
    assert "Nothing was shipped here in this time." in page


def test_stopped_says_what_a_person_may_do(seen: Seen, places: dict[str, Location]) -> None:
    HotState.objects.update(stopped="offsite holds segment 9; this database knows of none after 1: it went back in time", stopped_at=NOW)
    page = words(seen("olga"))
    assert "Shipping is stopped since 10 Mar 2026, 14:30:05 UTC: offsite holds segment 9" in page
    assert "manage.py hotbackup --new-timeline" in page


@pytest.mark.parametrize("name", ["root", "olga", "otto", "ada", "rita"])
def test_who_sees_it(name: str, seen: Seen, places: dict[str, Location]) -> None:
    page = seen(name)
    assert page.status_code == 200
    assert "Hot backups" in {
        item["title"] for group in page.context["sidebar_navigation"] for item in group["items"] if item["has_permission"]
    }
    assert seen(name, "/").context["standing"].lost == "nothing"


@pytest.mark.parametrize("name", ["anna", "nobody"])
def test_who_does_not(name: str, seen: Seen, places: dict[str, Location]) -> None:
    assert seen(name).status_code == 403
    front = seen(name, "/")
    assert front.context["standing"] is None and "Would be lost now" not in words(front)


def test_the_statements_do_not_grow_with_what_was_shipped(as_: As, places: dict[str, Location], own: Belongings) -> None:
    client = as_("olga")
    with CaptureQueriesContext(connection) as few:
        client.get(PAGE)
    for number in range(2, 30):
        a_segment(number, places, 5, owed_to=("offsite",) if number % 2 else ())
        note(places["primary"], [0.1], NOW - timedelta(hours=number))
    JournalRow.objects.update(written_at=NOW)
    with CaptureQueriesContext(connection) as many:
        client.get(PAGE)
    assert len(many) == len(few) <= 25
