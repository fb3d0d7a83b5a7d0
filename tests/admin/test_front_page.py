"""The front page, empty states, and a number of queries that does not grow with the rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from backups.admin.locations import public_address
from backups.models import BackupSet, Copy, KeyChangeRequest, KeyRingVersion, Location
from l2l.admin.site import PAGES as NAVIGATION
from subscriptions.models import DataRecord
from tests.admin.conftest import Belongings, url

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
    assert max(before.values()) <= 32


def queries_of(client: Client, page: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        client.get(page)
    return len(captured)
