"""The front page, empty states, and a number of queries that does not grow with the rows."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from audit import findings
from audit.models import ControlState
from audit.promises import PROMISES
from backups.admin.locations import public_address
from backups.models import (
    BackupSet,
    Copy,
    Damage,
    KeyChangeRequest,
    KeyRingVersion,
    Location,
    PolicyChangeRequest,
    Run,
    TestCell,
    VerificationPass,
)
from backups.policies import ensure_first_policy
from l2l.admin.front.nights import last_night
from l2l.admin.site import PAGES as NAVIGATION
from subscriptions.models import Customer, DataRecord
from tests.admin.conftest import Belongings, url
from tests.admin.measured import a_day, stand

As = Callable[[str], Client]


def test_an_empty_installation_says_what_to_do(as_: As) -> None:
    page = as_("root").get("/").content.decode()
    assert "No customers yet: add one here, or run manage.py add_customer." in page
    assert "No set was made" in page
    assert "You look after no customer yet" in as_("ada").get("/").content.decode()


def test_it_counts_customers_by_their_protection(as_: As, own: Belongings, foreign: Belongings) -> None:
    BackupSet.objects.filter(stream=foreign.customer.pk).update(protected_at=None)
    protection = as_("otto").get("/").context["protection"]
    assert (protection.customers, protection.protected, protection.complete, protection.without) == (2, 1, 1, 0)
    mine = as_("ada").get("/").context["protection"]
    assert (mine.customers, mine.protected, mine.complete) == (1, 1, 0)
    BackupSet.objects.filter(stream=own.customer.pk).update(damaged_at=datetime.now(UTC))
    protection = as_("otto").get("/").context["protection"]
    assert (protection.protected, protection.complete, protection.without) == (0, 1, 1)
    BackupSet.objects.all().delete()
    page = as_("otto").get("/")
    assert page.context["protection"].without == 2
    assert "2 customers have no whole set" in page.content.decode()


def test_what_is_owed_is_shown(as_: As, own: Belongings) -> None:
    Copy.objects.update(state=Copy.State.OWED)
    for page in ("/", url("location_changelist"), url("customer_overview", own.customer.pk)):
        assert "1 copy, 99 B" in as_("otto").get(page).content.decode()


def test_nothing_to_do_is_told_twice(as_: As, own: Belongings) -> None:
    with audit.acting("root", reason="a test"):
        Customer.objects.filter(pk=own.customer.pk).tracked_change(account_manager=None)
    told = [(one.label, one.text) for one in as_("rita").get("/").context["todos"]]
    assert len(told) == len(set(told)) and [text for label, text in told if label == "Customers"] != []


def test_the_navigation_has_no_icon_and_no_name_twice() -> None:
    pages = [page for _, of_group in NAVIGATION for page in of_group]
    assert len({icon for _, icon, _, _ in pages}) == len({title for title, _, _, _ in pages}) == len(pages)


def test_the_front_page_tells_of_key_changes_to_decide_and_of_an_overdue_drill(
    as_: As, people: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        KeyRingVersion.objects.create(wrapping=1, since=now - timedelta(days=200), recipients=[["escrow", "age1"]], made_by="init")
        asked = {"what": "rotate the online master key", "why": "a test", "requested_by": people["olga"], "requested_at": now}
        KeyChangeRequest.objects.create(deed=KeyChangeRequest.Deed.ROTATE, **asked)
    shown = as_("rita").get("/").content.decode()
    assert "olga asks to change who can open the backups: rotate the online master key" in shown
    shown = as_("olga").get("/").content.decode()
    assert "The escrow key should have been tried by" in shown and "olga asks to change who" not in shown


def test_a_location_shows_no_secret(as_: As, db: None) -> None:
    assert public_address("s3://key:secret@bucket/l2l?region=x") == "s3://bucket/l2l?region=x"
    Location.objects.create(name="cloud", url="s3://key:secret@bucket/l2l")
    assert b"secret" not in as_("otto").get(url("location_changelist")).content


def test_a_sample_says_so(as_: As, settings: Any) -> None:
    settings.L2L_SAMPLE = False
    assert b"SAMPLE" not in as_("root").get("/").content
    settings.L2L_SAMPLE = True
    assert b"SAMPLE" in as_("root").get("/").content


PAGES = ("customer", "subscription", "datarecord", "uploadedcontent", "link", "backupset", "run", "location", "blob", "copy", "export")
PAGES = (*PAGES, "hotstate")


@pytest.mark.parametrize("name", ["otto", "ada"])
def test_queries_do_not_grow_with_the_rows(name: str, as_: As, own: Belongings, belongings: Any, people: Any) -> None:
    client = as_(name)
    pages = ["/", *(url(f"{one}_changelist") for one in PAGES), f"{url('datarecord_changelist')}?customer={own.customer.pk}&kind=product"]
    pages += [
        url("customer_overview", own.customer.pk),
        url("datarecord_history", own.record.pk),
        url("backupset_change", own.backup_set.pk),
    ]
    with audit.acting("ada"):
        own.record.data = {"weight": 0}
        own.record.save()
    before = {page: queries_of(client, page) for page in pages}
    for number in range(6):
        belongings(f"more-{number}", people["ada"])
    with audit.acting("ada"):
        DataRecord.objects.tracked_create([DataRecord(customer=own.customer, kind="product", reference=f"N-{n}") for n in range(40)])
        for weight in range(1, 12):
            own.record.data = {"weight": weight}
            own.record.save()
    after = {page: queries_of(client, page) for page in pages}
    assert {page: count for page, count in after.items() if count > before[page]} == {}
    assert before.pop("/") <= 60
    assert max(before.values()) <= 32


def queries_of(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        client.get(page)
    return len(captured)


# The policy


def words(page: Any) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page.content.decode())))


def row_of(page: Any, number: str) -> Any:
    return next(row for row in page.context["policy"].rows if row.sentence.promise.number == number)


def test_all_promises_are_kept_each_with_its_figure_and_its_evidence(as_: As, measured: Any) -> None:
    page = as_("otto").get("/")
    assert "All 14 promises are kept" in words(page)
    for number, promise in PROMISES.items():
        assert f"{number} {promise.sentence} kept" in words(page)
    assert "0 things of of-p1 · since" in words(page) and "of-p1: at risk from 1, broken from 2" in words(page)
    assert f'href="{url("run_changelist")}"' in page.content.decode()


def test_the_worst_control_decides_and_says_what_to_do(as_: As, measured: Any) -> None:
    stand("of-p3-too", "broken", figure="2 things", why="2 copies are owed to vault.", todo="Mend the location vault.")
    stand("of-p7", "at risk", figure="1 cell")
    page = as_("otto").get("/")
    assert "1 broken, 1 at risk, 12 kept" in words(page) and page.context["policy"].kind == "bad"
    assert "2 copies are owed to vault. What to do: Mend the location vault." in words(page)
    assert f"{url('location_changelist')}?in_force__exact=1" in page.content.decode()
    third = row_of(page, "P3").sentence
    assert (third.word, third.kind, third.more) == ("broken", "bad", 1)
    assert "1 more control kept" in words(page)
    assert [(one.promise.number, one.word) for one in page.context["policy"].amiss] == [("P3", "broken"), ("P7", "at risk")]
    assert 'href="#P3"' in page.content.decode() and 'href="#P1"' not in page.content.decode()
    assert (row_of(page, "P7").sentence.kind, row_of(page, "P1").sentence.kind) == ("warn", "good")


def test_what_was_measured_too_long_ago_is_never_shown_as_kept(as_: As, measured: Any) -> None:
    ControlState.objects.update(measured_at=datetime.now(UTC) - timedelta(minutes=6))
    stand("of-p2", "broken", measured_at=datetime.now(UTC) - timedelta(minutes=6))
    page = as_("otto").get("/")
    assert "Nobody knows how the promises stand now" in words(page) and page.context["policy"].kind == "bad"
    assert "6 min ago" in words(page) and "Start manage.py work" in words(page)
    sentences = {row.sentence.word: row.sentence.kind for row in page.context["policy"].rows}
    assert sentences == {"was kept": "warn", "was broken": "bad"}


def test_one_that_cannot_be_measured_makes_its_promise_unknown(as_: As, measured: Any) -> None:
    stand("of-p4", trouble="It could not be measured (OperationalError).", measured_at=datetime.now(UTC) - timedelta(minutes=2))
    page = as_("otto").get("/")
    assert "1 not known, 13 kept" in words(page) and row_of(page, "P4").sentence.word == "was kept"
    assert "It could not be measured (OperationalError)." in words(page)
    assert "OperationalError" not in words(as_("ada").get("/"))


def test_before_the_first_measurement_it_says_how_to_measure(as_: As, fourteen: Any) -> None:
    page = as_("otto").get("/")
    assert "Nothing was measured yet: the worker does so every minute. Start manage.py work" in words(page)
    assert {row.sentence.word for row in page.context["policy"].rows} == {"not measured"}


def test_a_promise_without_a_control_is_not_called_kept(as_: As, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.controls._registered", {})
    page = as_("otto").get("/")
    assert "No control measures this promise yet." in words(page)
    assert {row.sentence.word for row in page.context["policy"].rows} == {"no control"}


def test_who_does_not_see_every_customer_sees_how_it_stands_and_no_figures(as_: As, measured: Any) -> None:
    stand("of-p1", "broken", figure="bolt lacks a night", why="bolt has none.", todo="See bolt.")
    a_day("of-p1", datetime.now(UTC).date(), "broken", figure="bolt lacked it")
    for name in ("ada", "anna"):
        page = as_(name).get("/")
        assert row_of(page, "P1").sentence.word == "broken" and "1 broken, 13 kept" in words(page)
        assert "bolt" not in page.content.decode() and "0 things of" not in page.content.decode()
    page = as_("nobody").get("/")
    assert page.context["policy"] is None and "promises" not in words(page)


def test_the_last_thirty_days_are_a_strip_that_says_what_was_not_measured(as_: As, measured: Any) -> None:
    today = datetime.now(UTC).date()
    for back in range(29):
        a_day("of-p3", today - timedelta(days=back))
    a_day("of-p3-too", today - timedelta(days=2), "broken", broken=3, kept=20, figure="9 things")
    strip = row_of(as_("otto").get("/"), "P3").strip
    broken = today - timedelta(days=2)
    assert strip.words == f"The last 30 days: kept on 28, at risk on none, broken on 1 ({broken:%-d %b}), not measured on 1."
    assert [shape.kind for shape in strip.shapes] == ["none", *["good"] * 26, "bad", "good", "good"]
    assert strip.shapes[-3].title == f"{broken:%-d %b %Y}: broken: 9 things (23 of 24 hours measured)"


def test_today_is_as_bad_as_it_stands_now(as_: As, measured: Any) -> None:
    today = datetime.now(UTC).date()
    a_day("of-p1", today)
    a_day("of-p2", today, "broken", figure="an hour ago")
    stand("of-p1", "broken")
    page = as_("otto").get("/")
    assert [row_of(page, number).strip.shapes[-1].kind for number in ("P1", "P2", "P4")] == ["bad", "bad", "good"]
    ControlState.objects.update(measured_at=datetime.now(UTC) - timedelta(hours=1))
    page = as_("otto").get("/")
    assert [row_of(page, number).strip.shapes[-1].kind for number in ("P1", "P2", "P4")] == ["good", "bad", "none"]


# What needs a person, and the figures


def test_todos_come_the_most_urgent_first_and_all_but_the_first_are_folded(as_: As, own: Belongings, people: Any) -> None:
    with audit.acting("setup", reason="a test"):
        for kind in list(findings.Kind)[:10]:
            late = kind is findings.Kind.KEY_MISSING
            findings.open_finding(kind, subject="a:1", customer=None, text="x", now=datetime.now(UTC) - timedelta(days=90 if late else 0))
    page = as_("otto").get("/")
    kinds = [todo.kind for todo in page.context["todos"]]
    assert kinds == sorted(kinds, key=["bad", "warn", "info"].index) and len(page.context["todos_first"]) == 8
    assert f"{len(kinds) - 8} more" in words(page) and "A customer's key is missing: overdue since" in words(page)


def test_last_night_counts_the_customers_of_the_person(as_: As, own: Belongings, foreign: Belongings) -> None:
    Run.objects.update(night=last_night())
    Run.objects.filter(pk=foreign.run.pk).update(state="failed")
    night = as_("otto").get("/").context["last_night"]
    assert (night.filled, night.owed, night.words) == (1, 2, "1 filled, 1 failed")
    assert [shape.kind for shape in night.bar] == ["good", "bad"] and night.bar[1].x == 500
    page = as_("ada").get("/")
    assert page.context["last_night"].words == "1 filled"
    link = page.context["last_night"].parts[0].link
    assert "acme" in as_("ada").get(link).content.decode()
    assert as_("anna").get("/").context["last_night"] is None


def test_tests_are_counted_by_tier_and_location(as_: As, own: Belongings, foreign: Belongings) -> None:
    now, place = datetime.now(UTC), Location.objects.get(name="primary")
    for one, tested, due in ((own, now, 30), (foreign, None, -1)):
        when = {"since": now, "tested_at": tested, "due_at": now + timedelta(days=due)}
        TestCell.objects.create(stream_id=one.customer.pk, tier="nightly", location=place, **when)
    grid = as_("otto").get("/").context["tests"]
    assert grid.locations == ("primary",) and [tier for tier, _ in grid.rows] == ["nightly", "weekly", "monthly"]
    cell = grid.rows[0][1][0]
    assert (cell.owed, cell.tested, cell.late, cell.percent, cell.kind) == (2, 1, 1, 50, "bad")
    assert "One test restore is overdue" in words(as_("otto").get("/"))
    mine = as_("ada").get("/").context["tests"]
    assert (mine.owed, mine.tested, mine.late) == (1, 1, 0)


def test_a_request_says_who_may_decide_and_never_that_its_asker_may(as_: As, people: Any) -> None:
    ensure_first_policy()
    asked = {"what": "keep 60 nights", "why": "x", "requested_by": people["olga"], "requested_at": datetime.now(UTC)}
    with audit.acting("setup", reason="a test"):
        PolicyChangeRequest.objects.create(changes={"nightly_days": 60}, **asked)
    assert "you may decide" in words(as_("rita").get("/"))
    page = words(as_("olga").get("/"))
    assert "decided by a receipt approver or backup operator, but not olga" in page and "you may decide" not in page
    assert "keep 60 nights" not in words(as_("ada").get("/"))


def test_storage_and_verification_are_those_of_the_newest_pass(as_: As, own: Belongings, foreign: Belongings) -> None:
    now, place = datetime.now(UTC), Location.objects.get(name="primary")
    for back, size, in_time in ((29, 1000, 10), (1, 1500, 9)):
        about = {"stored_bytes": size, "stored_objects": 10, "in_time": in_time, "started_at": now, "turn_at": now}
        VerificationPass.objects.create(location=place, night=now.date() - timedelta(days=back), **about)
    Damage.objects.create(location=place, stream_id=own.customer.pk, name="x", kind="blob", what="missing", found_at=now, beyond_at=now)
    page = as_("otto").get("/")
    assert "1.5 KiB 10 objects; +50.0 % in 30 nights" in words(page)
    assert "9 / 10 within 30 days" in words(page) and "1 damaged, 1 whole nowhere" in words(page)
    line = json.loads(page.context["storage"].nights)["datasets"][0]
    assert (line["label"], line["suffixYAxis"], line["data"]) == ("primary", "KiB", [0.98, 1.46])
    for name in ("ada", "rita", "anna"):
        assert "whole nowhere" not in words(as_(name).get("/")) and as_(name).get("/").context["storage"] is None


EMPTY = (
    "Nothing was owed in the night of",
    "Nothing is owed a test yet",
    "No request waits for a decision.",
    "No customer ends.",
    "No location yet: name them in L2L_LOCATIONS",
    "No set was made in the last 30 nights.",
    "No customers yet: add one here",
)


@pytest.mark.parametrize("text", EMPTY)
def test_each_empty_block_says_what_to_do_next(text: str, as_: As) -> None:
    assert text in words(as_("root").get("/"))


def test_thirty_customers_cost_as_many_queries_as_two(as_: As, own: Belongings, belongings: Any, people: Any, measured: Any) -> None:
    belongings("second", people["ada"])
    clients = [as_(name) for name in ("otto", "ada", "rita")]
    few = [queries_of(client, "/") for client in clients]
    for number in range(28):
        belongings(f"more-{number}", people["ada"])
    assert [queries_of(client, "/") for client in clients] == few
