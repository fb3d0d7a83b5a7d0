"""A customer's timeline: what is drawn, how a moment is picked, and who sees it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from audit.models import JournalRow
from backups.models import BackupSet, HotState, Location, Segment, SegmentCopy
from subscriptions.models import Customer, DataRecord
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
NOW = datetime(2026, 3, 10, 14, 30, 5, tzinfo=UTC)
# When the changes of the customer's first rows were made.
FIRST = NOW - timedelta(days=20)


@pytest.fixture
def own(own: Belongings, monkeypatch: pytest.MonkeyPatch) -> Belongings:
    """Twenty days ago everything began; the set of yesterday goes on with segment 1, and until a second ago all was shipped."""
    monkeypatch.setattr("audit.clock.now", lambda: NOW)
    numbered(own.customer, FIRST)
    BackupSet.objects.filter(pk=own.backup_set.pk).update(
        snapshot_at=NOW - timedelta(hours=12), journal_number=3, journal_at=FIRST, segment=1, policy=1, proof="proved"
    )
    HotState.objects.create(last_segment=2, ticked_at=NOW)
    a_segment(1, NOW - timedelta(hours=12))
    a_segment(2, NOW - timedelta(seconds=1))
    return own


def numbered(customer: Customer, at: datetime) -> None:
    """What waits gets its numbers, as if it had been written at that moment and shipped at once."""
    last = JournalRow.objects.filter(stream=customer.pk, number__isnull=False).count()
    for number, row in enumerate(JournalRow.objects.filter(stream=customer.pk, number=None).order_by("pk"), last + 1):
        JournalRow.objects.filter(pk=row.pk).update(number=number, written_at=at, segment=1)


def a_segment(number: int, until: datetime, *, durable: bool = True) -> None:
    found = Segment.objects.create(number=number, epoch=1, name=f"hot/{number}", made_at=until, until=until)
    SegmentCopy.objects.create(segment=found, location=Location.objects.get(name="primary"), durable_at=until if durable else None)


def change(own: Belongings, at: datetime, reason: str = "the customer asked", **data: Any) -> None:
    with audit.acting("ada", reason=reason, source="test"):
        own.record.data = data
        own.record.save()
    numbered(own.customer, at)


def timeline(own: Belongings) -> str:
    return url("customer_timeline", own.customer.pk)


def words(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.content.decode()))


def lanes(response: Any) -> dict[str, list[tuple[str, int, int]]]:
    """Each line of the picture: colour, left edge and width in thousandths."""
    return {lane.name: [(shape.kind, shape.x, shape.width) for shape in lane.shapes] for lane in response.context["lanes"]}


def test_four_weeks(as_: As, own: Belongings) -> None:
    change(own, NOW - timedelta(days=2), colour="red")
    page = as_("ada").get(timeline(own))
    days = page.context["targets"]
    assert len(days) == 28
    assert [day.title for day in days if ": 0 changes" not in day.title] == ["18 Feb: 3 changes", "8 Mar: 1 change"]
    assert days[-1].href == "?in=2026-03-10"
    # From 18 February, 14:30 to a second ago, of 28 days.
    assert lanes(page)["primary"] == [("good", 272, 714), ("warn", 968, 18)]
    assert lanes(page)["Sets"] == [("good", 968, 0)]
    assert "nightly" in words(page) and "proved" in words(page)


def test_each_bar_leads_further_in(as_: As, own: Belongings) -> None:
    moment = NOW - timedelta(hours=3)
    change(own, moment, colour="red")
    client, address = as_("ada"), "?in=2026-03-10"
    for expected, label in (("?in=2026-03-10T11", "11:00"), ("?in=2026-03-10T11%3A30", "11:30")):
        page = client.get(f"{timeline(own)}{address}")
        [found] = [target for target in page.context["targets"] if "1 change" in target.title]
        assert (found.href, found.title) == (expected, f"{label}: 1 change")
        address = found.href
    page = client.get(f"{timeline(own)}{address}")
    [second] = [target for target in page.context["targets"] if "1 change" in target.title]
    assert second.title == ":05: 1 change" and second.href == "?in=2026-03-10T11%3A30&at=2026-03-10T11%3A30%3A06Z"
    assert "data record P-1 changed by ada the customer asked" in words(page)
    picked = client.get(f"{timeline(own)}{second.href}")
    assert "manage.py restore acme --at 2026-03-10T11:30:06Z --to FOLDER" in words(picked)
    assert "Its last change is number 4, data record P-1 changed by ada, 10 Mar 2026, 11:30:05 UTC." in words(picked)


def test_a_change_picks_the_moment_after_its_whole_transaction(as_: As, own: Belongings) -> None:
    change(own, NOW - timedelta(minutes=20), colour="red")
    change(own, NOW - timedelta(minutes=19), colour="blue")
    rows = list(JournalRow.objects.filter(stream=own.customer.pk).order_by("-number")[:2])
    JournalRow.objects.filter(pk__in=[row.pk for row in rows]).update(transaction=rows[0].transaction)
    page = as_("ada").get(f"{timeline(own)}?in=2026-03-10T14")
    assert [one.pick for one in page.context["changes"]] == ["?at=2026-03-10T14%3A11%3A05Z"] * 2


def test_a_change_that_was_written_before_the_one_in_front_of_it(as_: As, own: Belongings) -> None:
    """Its effective time is the running maximum: no earlier moment has it."""
    change(own, NOW - timedelta(minutes=10), colour="red")
    change(own, NOW - timedelta(minutes=11), colour="blue")
    page = as_("ada").get(f"{timeline(own)}?in=2026-03-10T14")
    assert page.context["changes"][-1].pick == "?at=2026-03-10T14%3A20%3A05Z"


def test_a_moment_by_the_clock_of_the_customer(as_: As, own: Belongings) -> None:
    Customer._base_manager.all()._plain().update(zone="America/New_York")
    asked = {"moment": "2026-03-10T09:00:00", "zone": "America/New_York"}
    page = as_("ada").get(timeline(own), asked)
    assert page.context["picked"].text == "2026-03-10T13:00:00Z"
    assert "10 Mar 2026, 09:00:00 America/New_York" in words(page)
    assert page.context["zoom"].key == "2026-03-10T13"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"at": "2026-03-10T12:00:00"}, "has no zone"),
        ({"at": "yesterday"}, "is no moment"),
        ({"at": "2026-03-10T15:00:00Z"}, "has not come yet"),
        ({"moment": "2026-03-10T15:00:00", "zone": "UTC"}, "has not come yet"),
        ({"moment": "never", "zone": "UTC"}, "is no moment"),
        ({"moment": "2026-03-10T12:00:00", "zone": "Mars/Olympus"}, "Select a valid choice"),
        ({"moment": "", "zone": "UTC"}, "This field is required"),
    ],
)
def test_what_is_no_moment_is_told(asked: dict[str, str], told: str, as_: As, own: Belongings) -> None:
    page = as_("ada").get(timeline(own), asked)
    assert page.status_code == 200 and told in words(page) and page.context["picked"] is None


def test_nonsense_in_the_address_shows_the_four_weeks(as_: As, own: Belongings) -> None:
    for asked in ({"in": "x"}, {"in": "9999-12-31"}, {"until": "never"}, {"until": "2999-01-01"}):
        assert len(as_("ada").get(timeline(own), asked).context["targets"]) == 28
    assert as_("ada").get(timeline(own), {"until": "2026-02-10"}).context["zoom"].title == "14 Jan to 10 Feb 2026"


def test_a_moment_that_cannot_be_restored(as_: As, own: Belongings) -> None:
    a_segment(3, NOW - timedelta(seconds=500), durable=False)
    Segment.objects.filter(number=2).update(until=NOW - timedelta(minutes=10), made_at=NOW - timedelta(minutes=10))
    page = as_("ada").get(timeline(own), {"at": "2026-03-10T14:25:00Z"})
    assert not page.context["picked"].anywhere
    assert "restore acme --at" not in words(page)
    assert "primary covers every second from 18 Feb 2026, 14:30:05 UTC to 10 Mar 2026, 14:20:05 UTC." in words(page)
    assert "Segment 3, made 10 Mar 2026, 14:21:45 UTC, is owed to it" in words(page)
    assert lanes(page)["primary"][-1] == ("bad", 335, 166)
    earlier = as_("ada").get(timeline(own), {"at": "2026-03-10T14:19:00Z"})
    assert "manage.py restore acme --at 2026-03-10T14:19:00Z --to FOLDER" in words(earlier)
    assert "primary: can give it" in words(earlier)


def test_a_stretch_in_which_nobody_shipped(as_: As, own: Belongings) -> None:
    Segment.objects.filter(number=2).update(made_at=NOW - timedelta(hours=2))
    page = as_("ada").get(f"{timeline(own)}?in=2026-03-10")
    # From 2:30 to 12:30, of 24 hours.
    assert ("warn", 104, 417) in lanes(page)["primary"]
    assert "Nobody shipped from 10 Mar 2026, 02:30:05 UTC to 10 Mar 2026, 12:30:05 UTC" in page.content.decode()


def test_what_waits_is_told(as_: As, own: Belongings) -> None:
    assert "not shipped yet" not in words(as_("ada").get(timeline(own)))
    with audit.acting("ada", reason="x", source="test"):
        own.record.data = {"colour": "green"}
        own.record.save()
    assert "1 not shipped yet" in words(as_("ada").get(timeline(own)))


def test_a_customer_without_sets_or_changes(as_: As, own: Belongings) -> None:
    BackupSet.objects.update(segment=None, journal_number=None, journal_at=None, snapshot_at=NOW - timedelta(days=50))
    JournalRow.objects.filter(stream=own.customer.pk).update(number=None)
    page = as_("ada").get(timeline(own))
    assert "No set holds a moment of this time." in words(page) and "manage.py backup acme makes one now" in words(page)
    assert "from the next backup on every second is covered" in words(page)
    assert "Nothing was changed in this time." in words(as_("ada").get(f"{timeline(own)}?in=2026-03-10T14"))
    assert "It lies before the first numbered change." in words(as_("ada").get(timeline(own), {"at": "2026-03-10T12:00:00Z"}))


def test_whose_it_is(as_: As, own: Belongings, foreign: Belongings) -> None:
    for name in ("root", "rita", "olga", "otto", "ada"):
        assert as_(name).get(timeline(own)).status_code == 200
    assert as_("ada").get(timeline(foreign)).status_code in (302, 403, 404)
    for name in ("anna", "nobody"):
        assert as_(name).get(timeline(own)).status_code == 403
    assert as_("ada").post(timeline(own)).status_code == 405
    assert timeline(own) in as_("ada").get(url("customer_overview", own.customer.pk)).content.decode()


def test_who_may_not_see_a_model_sees_only_that_something_changed(as_: As, own: Belongings, people: Any) -> None:
    people["ada"].groups.get().permissions.filter(codename="view_datarecord").delete()
    change(own, NOW - timedelta(minutes=10), reason="a secret", colour="red")
    page = as_("ada").get(f"{timeline(own)}?in=2026-03-10T14")
    [shown] = page.context["changes"]
    assert (shown.label, shown.reference, shown.actor, shown.reason, shown.url) == ("data record", "", "", "", "")
    assert "a secret" not in words(page)


def test_a_change_whose_content_was_purged_has_its_number_left(as_: As, own: Belongings) -> None:
    history = own.record.history.model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {history}")
    shown = words(as_("ada").get(timeline(own), {"in": f"{FIRST:%Y-%m-%dT%H}"}))
    assert "l2l_subscriptions.datarecord, purged since: its term was over" in shown


def test_a_broken_proof_is_red(as_: As, own: Belongings) -> None:
    BackupSet.objects.update(proof="broken")
    page = as_("ada").get(timeline(own))
    assert lanes(page)["Sets"] == [("bad", 968, 0)] and "proof broken" in words(page)


def test_many_changes_cost_what_few_do(as_: As, own: Belongings) -> None:
    client = as_("ada")
    addresses = [timeline(own) + asked for asked in ("", "?in=2026-03-10", "?in=2026-03-10T14", "?in=2026-03-10T14:10")]
    addresses.append(f"{timeline(own)}?at=2026-03-10T14:20:00Z")
    change(own, NOW - timedelta(minutes=20), colour="red")
    change(own, NOW - timedelta(minutes=20), colour="blue")
    before = [statements(client, address) for address in addresses]
    with audit.acting("ada", reason="many", source="test"):
        DataRecord.objects.tracked_create([DataRecord(customer=own.customer, kind="product", reference=f"N-{n}") for n in range(250)])
    numbered(own.customer, NOW - timedelta(minutes=20))
    for number in range(3, 30):
        a_segment(number, NOW)
    assert [statements(client, address) for address in addresses] == before
    assert max(before) <= 25
    page = client.get(addresses[2])
    assert len(page.context["changes"]) == 100 and "152 more of this time are not listed" in words(page)
    around = client.get(f"{timeline(own)}?at=2026-03-10T14:10:05Z").context["changes"]
    assert (len(around), around[0].at <= NOW - timedelta(minutes=20)) == (50, True)  # all were made then: the last of them


def statements(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


def test_a_picked_moment_leads_on_to_what_one_may_do_with_it(as_: As, own: Belongings) -> None:
    client = as_("olga")
    page = client.get(timeline(own), {"at": "2026-03-10T12:00:00.25Z"})
    link = page.context["picked"].live_url
    assert "Restore into live tables" in words(page)
    assert client.get(page.context["picked"].find_url).status_code == 200 and "Find in backups" in words(page)
    form = client.get(link).context["form"]
    assert (form["state"].value(), form["at"].value()) == ("at", "2026-03-10T12:00:01")
    assert "Restore into live tables" not in words(as_("ada").get(timeline(own), {"at": "2026-03-10T12:00:00Z"}))
