"""What is kept of a customer, as a picture; why each set is kept; retention and the clock (P6)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from audit.models import Event, Stream
from audit.registry import SYSTEM_STREAM
from backups.models import BackupSet, Blob, ClockMark, Copy, ReadLease, RetentionLook, Run, Slot
from backups.policies import ensure_first_policy, zone_at
from backups.slots import DAY, Period, Tier, month_of, night_of, periods, week_of
from subscriptions.models import LegalHold
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]


@pytest.fixture(autouse=True)
def policy(db: None) -> None:
    ensure_first_policy()


def newest_night() -> date:
    now = datetime.now(UTC)
    return night_of(now, zone_at(now))


def kept(client: Client, one: Belongings, query: str = "") -> Any:
    return client.get(url("backupset_kept", one.customer.pk) + query)


def a_set(one: Belongings, night: date, **fields: Any) -> BackupSet:
    """A protected set of that night."""
    at = datetime(night.year, night.month, night.day, 22, 5, tzinfo=UTC)
    about = {"state": BackupSet.State.MADE, "snapshot_at": at, "complete_at": at, "protected_at": at, "ended_at": at, "proof": "proved"}
    return BackupSet.objects.create(stream_id=one.customer.pk, night=night, started_at=at, **(about | fields))


def a_run(one: Belongings, night: date, state: str, **fields: Any) -> Run:
    at = datetime(night.year, night.month, night.day, 22, tzinfo=UTC)
    about = {"policy": 1, "due_at": at, "ends_at": at + timedelta(hours=14), "next_try_at": at}
    return Run.objects.create(stream_id=one.customer.pk, night=night, state=state, **(about | fields))


def a_slot(one: Belongings, period: Period, state: str, backup_set: BackupSet | None = None, **fields: Any) -> Slot:
    about = {"first": period.first, "last": period.last, "policy": 1, "decided_at": datetime.now(UTC)}
    return Slot.objects.create(stream_id=one.customer.pk, key=period.key, state=state, backup_set=backup_set, **(about | fields))


def title_and_link(page: str, beginning: str) -> tuple[str, str]:
    """The cell whose title begins so: its whole title, and where it leads."""
    found = re.search(rf'<a class="bo-slot[^"]*" href="([^"]*)" title="({re.escape(beginning)}[^"]*)"', page)
    assert found, beginning
    return found[2], found[1]


# The picture


def test_each_cell_says_its_state_and_opens_its_set(as_: As, own: Belongings) -> None:
    newest = newest_night()
    old, older = newest - 40 * DAY, newest - 70 * DAY
    there, gone = a_set(own, old), a_set(own, older, state=BackupSet.State.REMOVED, removed_at=datetime.now(UTC))
    a_run(own, old, "done", late=True, backup_set=there)
    a_run(own, older, "done", backup_set=gone)
    failed = a_run(own, newest - 39 * DAY, "failed")
    a_slot(own, week_of(old), "stood in", there, nights_off=3)
    a_slot(own, week_of(older), "filled", gone)
    page = kept(as_("ada"), own).content.decode()

    assert title_and_link(page, f"Night of {old:%-d %B %Y}: late") == (f"Night of {old:%-d %B %Y}: late", url("backupset_change", there.pk))
    title, link = title_and_link(page, f"Night of {older:%-d %B %Y}: filled")
    assert "removed as promised" in title and link == url("backupset_change", gone.pk)
    assert title_and_link(page, f"Night of {failed.night:%-d %B %Y}: missed: the backup failed")[1] == url("run_change", failed.pk)
    title, link = title_and_link(page, f"Week {old.isocalendar().week} of {old.isocalendar().year}")
    assert "stood in for by the set of the night of" in title and "3 nights off" in title and link == url("backupset_change", there.pk)
    assert "owed" in title_and_link(page, f"Week {newest.isocalendar().week} of {newest.isocalendar().year}")[0]
    assert "owed" in title_and_link(page, f"{newest:%B %Y}")[0]


def test_what_is_owed_adds_up_on_the_page(as_: As, own: Belongings) -> None:
    newest = newest_night()
    Run.objects.all().delete()
    for at, state in enumerate(["done", "missed", "excused", "done", "failed", "paused", "complete"], 1):
        a_run(own, newest - at * DAY, state, late=at == 4, paused_until=datetime.now(UTC) if state == "paused" else None)
    response = kept(as_("otto"), own)
    rows = re.findall(r'<th scope="row">(\w+)</th>(.*?)</tr>', response.content.decode())
    months, weeks, nights = ([int(number) for number in re.findall(r">(\d+)<", cells)] for _, cells in rows)
    # Owed = filled + late + stood in for + missed + excused; still owed are the night of now and the one whose set is not yet everywhere.
    assert nights == [6, 1, 1, 0, 3, 1, 2, 0] and nights[0] == sum(nights[1:6])
    assert months[0] == weeks[0] == 0 and months[6] >= 1


def test_another_year_of_nights_is_chosen(as_: As, own: Belongings) -> None:
    night = newest_night() - 800 * DAY
    a_run(own, night, "missed")
    wanted = f"Night of {night:%-d %B %Y}: missed"
    client = as_("otto")
    assert wanted not in kept(client, own).content.decode()
    assert wanted in kept(client, own, f"?nights={night.year}").content.decode()
    for nonsense in ("x", "0", "99999999999", "-4", "²"):
        assert kept(client, own, f"?nights={nonsense}").status_code == 200


def test_a_customer_without_anything_is_told_what_comes(as_: As, own: Belongings) -> None:
    Run.objects.all().delete()
    Copy.objects.all().delete()
    Blob.objects.all().delete()
    BackupSet.objects.all().delete()
    page = kept(as_("ada"), own).content.decode()
    assert "No night is owed yet and no set was made" in page and "manage.py backup acme" in page and "No set is kept now" in page


def test_it_says_what_is_promised_what_goes_next_and_what_holds_it(as_: As, own: Belongings) -> None:
    subscription = own.subscription
    with audit.acting("setup", reason="a test"):
        subscription.agreed_retention_years = 7
        subscription.save_terms()
    page = kept(as_("ada"), own).content.decode()
    assert "Every night&#x27;s for 28 days, then one a week for 52 weeks, then one a month for at most 20 years" in page
    assert "7 years, as agreed in acme-1" in page
    assert "The newest good set" in page and "Nothing of this customer is removed" not in page
    hold = LegalHold(
        customer=own.customer, holder="Court", basis="x", review_on=date(2030, 1, 1), placed_by="ada", placed_at=datetime.now(UTC)
    )
    with audit.acting("setup", reason="a test"):
        hold.save()
    page = kept(as_("ada"), own).content.decode()
    assert "on legal hold" in page and "A legal hold is open" in page


def test_it_says_why_what_is_due_does_not_go(as_: As, own: Belongings) -> None:
    BackupSet.objects.all().update(state=BackupSet.State.ABANDONED)
    for back in (90, 80):
        a_set(own, newest_night() - back * DAY)
    page = kept(as_("ada"), own).content.decode()
    assert "Sets whose time is over are kept all the same" in page and "more than 48 hours old" in page


@pytest.mark.parametrize("name", ["ada", "anna", "nobody"])
def test_a_foreign_customers_picture_is_shown_to_nobody_else(name: str, as_: As, own: Belongings, foreign: Belongings) -> None:
    assert kept(as_(name), foreign).status_code == (404 if name == "ada" else 403)
    assert kept(as_(name), own).status_code == (200 if name == "ada" else 403)


def test_the_system_stream_is_for_those_who_see_every_customer(as_: As, own: Belongings) -> None:
    Stream.objects.get_or_create(pk=SYSTEM_STREAM, defaults={"name": "system"})
    page = url("backupset_kept", SYSTEM_STREAM)
    assert [as_(name).get(page).status_code for name in ("otto", "olga", "ada")] == [200, 200, 404]
    assert as_("otto").post(page).status_code == 405


def test_queries_do_not_grow_with_the_sets(as_: As, own: Belongings) -> None:
    client, newest = as_("olga"), newest_night()
    one = a_set(own, newest - 1 * DAY)

    def queries() -> list[int]:
        found = []
        for page in (url("backupset_kept", own.customer.pk), url("backupset_change", one.pk)):
            with CaptureQueriesContext(connection) as captured:
                assert client.get(page).status_code == 200
            found.append(len(captured))
        return found

    before = queries()
    for back in range(2, 120, 2):
        made = a_set(own, newest - back * DAY, state="removed" if back > 60 else "made")
        a_run(own, newest - back * DAY, "done", backup_set=made)
    for tier in (Tier.WEEK, Tier.MONTH):
        for period in periods(tier, newest - 110 * DAY, newest - 40 * DAY):
            a_slot(own, period, "missed")
    after = queries()
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 1  # whether a period is excused is asked once, where one is to be decided
    assert before[0] <= 28


def test_the_ways_there(as_: As, own: Belongings) -> None:
    client, page = as_("ada"), url("backupset_kept", own.customer.pk)
    lists = f"{url('backupset_changelist')}?customer={own.customer.pk}"
    for address in (url("customer_overview", own.customer.pk), url("backupset_change", own.backup_set.pk), lists):
        assert page in client.get(address).content.decode()


# A set


def test_a_set_says_why_it_is_kept_and_when_it_goes(as_: As, own: Belongings) -> None:
    night = newest_night() - 40 * DAY
    goes_at = datetime(2030, 5, 4, 22, 5, tzinfo=UTC)
    one = a_set(own, night, goes_at=goes_at, kept_why="chosen for week", kept_policy=1)
    a_slot(own, month_of(night), "filled", one)
    ReadLease.objects.create(
        stream_id=own.customer.pk,
        backup_set=one,
        holder="elsewhere:1:1",
        why="restore",
        taken_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    page = as_("olga").get(url("backupset_change", one.pk)).content.decode()
    assert f"Chosen for {night:%B %Y}" in page and "It is being read" in page
    assert "4 May 2030, 22:05 UTC" in page and "version 1 of the policy" in page
    assert "The newest good set" in as_("ada").get(url("backupset_change", own.backup_set.pk)).content.decode()


def test_a_set_that_nothing_keeps_says_that_it_goes(as_: As, own: Belongings) -> None:
    one = a_set(own, newest_night() - 200 * DAY)
    BackupSet.objects.filter(pk=own.backup_set.pk).update(proof="proved")  # else this one is the newest proved set
    Slot.objects.bulk_create(
        Slot(
            stream_id=own.customer.pk,
            key=period.key,
            first=period.first,
            last=period.last,
            state="missed",
            policy=1,
            decided_at=datetime.now(UTC),
        )
        for tier in (Tier.WEEK, Tier.MONTH)
        for period in periods(tier, one.night, newest_night() - 40 * DAY)
    )
    assert "Nothing keeps it any more" in as_("ada").get(url("backupset_change", one.pk)).content.decode()


@pytest.mark.parametrize("state", ["leaving", "removed"])
def test_what_is_going_or_gone_says_so_and_is_not_offered_for_restoring(state: str, as_: As, own: Belongings) -> None:
    now = datetime.now(UTC)
    BackupSet.objects.filter(pk=own.backup_set.pk).update(
        state=state, left_at=now, kept_why="chosen for week:2026-W03", kept_policy=1, goes_at=datetime(2026, 5, 4, tzinfo=UTC),
        removed_at=now if state == "removed" else None, trouble="offsite: no answer" if state == "leaving" else "",
    )  # fmt: skip
    page = as_("olga").get(url("backupset_change", own.backup_set.pk)).content.decode()
    assert "Chosen for week 3 of 2026 (12 to 18 Jan)" in page and "4 May 2026, 00:00 UTC" in page and "Let go" in page
    assert (
        "Restore into live tables" not in page
        and "manage.py restore" not in page
        and "Restore into live tables" in as_("olga").get(url("backupset_change", a_set(own, newest_night()).pk)).content.decode()
    )
    assert ("primary: 1 object, 99 B" in page and "offsite: no answer" in page) == (state == "leaving")
    assert ("Removed everywhere" in page) == (state == "removed")


def test_removed_sets_are_listed_when_asked_for(as_: As, own: Belongings) -> None:
    client, address = as_("ada"), url("backupset_changelist")
    BackupSet.objects.filter(pk=own.backup_set.pk).update(state="removed", removed_at=datetime.now(UTC))
    leaving = a_set(own, newest_night() - 30 * DAY, state="leaving")

    def listed(query: str = "") -> set[str]:
        return {str(row.pk) for row in client.get(address + query).context["cl"].result_list}

    assert listed() == {str(leaving.pk)} == listed("?standing=being+removed")
    assert listed("?standing=removed") == {str(own.backup_set.pk)}
    assert listed("?standing=with+removed+ones") == {str(leaving.pk), str(own.backup_set.pk)}
    newest = client.get(url("customer_overview", own.customer.pk)).context["sets"]
    assert [str(one.pk) for one, *_ in newest] == [str(leaving.pk)]


def test_what_goes_within_a_week_is_counted_and_listed_first_to_last(as_: As, own: Belongings) -> None:
    now = datetime.now(UTC)
    later, sooner = (a_set(own, newest_night() - back * DAY, goes_at=now + timedelta(days=days)) for back, days in ((1, 6), (2, 2)))
    a_set(own, newest_night() - 3 * DAY, goes_at=now + timedelta(days=8))
    a_set(own, newest_night() - 4 * DAY, goes_at=now - timedelta(days=1), state="leaving")
    front = as_("otto").get("/")
    link = re.search(rf'href="({url("backupset_changelist")}\?goes=week[^"]*)"', front.content.decode())
    assert link and front.context["going"] == 2
    assert [row.pk for row in as_("otto").get(unescape(link[1])).context["cl"].result_list] == [sooner.pk, later.pk]


# Retention and the clock


def doubtful() -> ClockMark:
    return ClockMark.objects.create(host="h1", boot="x", seconds=1, at=datetime.now(UTC), doubts="the clock was set on by 3 hours")


def test_customers_at_which_pruning_waits(as_: As, own: Belongings, foreign: Belongings) -> None:
    now = datetime.now(UTC)
    RetentionLook.objects.create(stream_id=own.customer.pk, look_at=now, policy=1, years=20, waits="there is no good set")
    RetentionLook.objects.create(stream_id=foreign.customer.pk, look_at=now, policy=1, years=20)
    client, address = as_("otto"), url("retentionlook_changelist")
    page = client.get(address).content.decode()
    assert "there is no good set" in page and "does not wait" in page and url("backupset_kept", own.customer.pk) in page
    assert [row.pk for row in client.get(f"{address}?waits=yes").context["cl"].result_list] == [own.customer.pk]
    assert [row.pk for row in client.get(f"{address}?waits=no").context["cl"].result_list] == [foreign.customer.pk]
    assert "One customer keeps sets whose time is over" in as_("otto").get("/").content.decode()


def test_an_operator_vouches_for_the_clock_with_a_reason(as_: As, own: Belongings) -> None:
    doubtful()
    page = as_("olga").get(url("retentionlook_changelist")).content.decode()
    assert "Nothing is removed: the clock is in doubt" in page and "set on by 3 hours" in page and url("retentionlook_clear_clock") in page
    assert "Nothing is removed while the clock is in doubt" in as_("olga").get("/").content.decode()
    address = url("retentionlook_clear_clock")
    assert "set on by 3 hours" in as_("olga").get(address).content.decode()
    assert "This field is required" in as_("olga").post(address, {"reason": ""}).content.decode()
    assert ClockMark.objects.get().cleared_until is None
    told = as_("olga").post(address, {"reason": "NTP was away for an hour"}, follow=True).content.decode()
    assert "You vouch for the clock until" in told and "olga vouches for it until" in told
    assert Event.objects.get(event="clock:cleared").actor == "olga"
    assert "Nothing is removed while the clock is in doubt" not in as_("olga").get("/").content.decode()


def test_who_may_not_vouch_is_not_asked_to(as_: As, own: Belongings) -> None:
    doubtful()
    page = as_("otto").get(url("retentionlook_changelist")).content.decode()
    assert "the clock is in doubt" in page and url("retentionlook_clear_clock") not in page
    for name in ("otto", "ada", "rita", "anna"):
        assert as_(name).post(url("retentionlook_clear_clock"), {"reason": "x"}).status_code == 403
    assert ClockMark.objects.get().cleared_until is None
    mine, theirs = (kept(as_(name), own).content.decode() for name in ("ada", "otto"))
    assert "Nothing is removed while a clock is in doubt" in mine and "set on by 3 hours" not in mine and "set on by 3 hours" in theirs


def test_without_a_doubt_there_is_nothing_to_vouch_for(as_: As, own: Belongings) -> None:
    page = as_("olga").post(url("retentionlook_clear_clock"), {"reason": "just so"}).content.decode()
    assert "No doubt about the clock stands" in page


def test_a_right_to_vouch_alone_opens_no_list(people: dict[str, User], as_: As) -> None:
    people["nobody"].user_permissions.add(Permission.objects.get(codename="clear_clock"))
    assert as_("nobody").get(url("retentionlook_changelist")).status_code == 403


def test_the_front_page_tells_of_missed_weeks_and_of_what_goes(as_: As, own: Belongings, foreign: Belongings) -> None:
    newest = newest_night()
    a_slot(foreign, month_of(newest - 40 * DAY), "missed")
    a_slot(own, week_of(newest - 10 * DAY), "missed")
    BackupSet.objects.filter(pk=own.backup_set.pk).update(goes_at=datetime.now(UTC) + timedelta(days=6))
    BackupSet.objects.filter(pk=foreign.backup_set.pk).update(goes_at=datetime.now(UTC) + timedelta(days=6))
    mine, all_of_them = as_("ada").get("/"), as_("otto").get("/")
    assert (mine.context["going"], all_of_them.context["going"]) == (1, 2)
    assert "acme: week" in mine.content.decode() and "bolt" not in mine.content.decode()
    assert f"bolt: {month_of(newest - 40 * DAY).first:%B %Y} is missed" in all_of_them.content.decode()


# What another policy would mean


def test_a_change_of_policy_shows_which_sets_would_go(as_: As, own: Belongings) -> None:
    newest = newest_night()
    for back in (10, 20):
        a_set(own, newest - back * DAY, new_bytes=2048)
    RetentionLook.objects.create(stream_id=own.customer.pk, look_at=datetime.now(UTC), policy=1, years=20)
    sent = {
        "night_starts": "22:00",
        "zone": "UTC",
        "max_attempts": 8,
        "retry_minutes": "1 5 15 60",
        "longest_years": 20,
        "weekly_weeks": 52,
        "test_days": 90,
        "tests_a_night": 1,
    }
    ask = url("policychangerequest_add")
    shorter = as_("olga").post(ask, sent | {"nightly_days": 21, "why": "x", "_what_if": "1"})
    shift = shorter.context["shift"]
    assert (shift.sets, shift.earlier, shift.later, shift.at_once, shift.at_once_bytes) == (3, 3, 0, 1, 2048)
    page = shorter.content.decode()
    assert "3 would go earlier" in page and "1 at once, 2.0 KiB" in page
    longer = as_("olga").post(ask, sent | {"nightly_days": 60, "why": "x", "_what_if": "1"}).content.decode()
    assert "3 would go later" in longer and "0 at once" in longer
    tries = as_("olga").post(ask, sent | {"nightly_days": 28, "max_attempts": 9, "why": "x", "_what_if": "1"})
    assert "What" in tries.content.decode() and "would go" not in tries.content.decode()
