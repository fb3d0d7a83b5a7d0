"""An account manager's work on one page: what ends, what is outstanding, what failed, what waits; own customers alone (P9 to P12)."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

import audit
from backups.models import Run, TermLook
from l2l.admin.my_work import next_step
from subscriptions.models import DataReturn, DeletionRequest, EndingNotice, LegalHold, TermChangeRequest
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
DAY = timedelta(days=1)


def page(client: Client, query: str = "") -> str:
    response = client.get(reverse("admin:my_work") + query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def ends(one: Belongings, last: date) -> None:
    with audit.acting("setup", reason="a test", source="test"):
        one.subscription.end = last
        one.subscription.save_terms()


def returned(one: Belongings, by: User, handed_over: datetime | None) -> DataReturn:
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test", source="test"):
        ending = DeletionRequest.objects.create(customer=one.customer, state="returned", why="x", requested_by=by, requested_at=now)
        package = {"set_id": uuid.uuid4(), "package_sha256": "0" * 64, "manifest_sha256": "1" * 64, "size": 1, "file_name": "x.zip"}
        when = {"made_at": now, "verified_at": now, "expires_at": now + 60 * DAY, "delivered_at": handed_over}
        return DataReturn.objects.create(request=ending, number=1, path="/nowhere", **package, **when)


def busy(one: Belongings, by: User) -> None:
    """Something in every list."""
    now = datetime.now(UTC)
    ends(one, now.date() + 20 * DAY)
    package = returned(one, by, now - 8 * DAY)
    Run.objects.filter(pk=one.run.pk).update(state=Run.State.FAILED)
    about = {"standard": 3, "standard_from": date(2026, 1, 2), "agreed": 4, "agreed_from": date(2027, 3, 4), "looked_at": now}
    TermLook.objects.create(stream_id=one.customer.pk, overdue=5, overdue_since=date(2025, 5, 6), **about)
    with audit.acting("setup", reason="a test", source="test"):
        EndingNotice.objects.create(
            request=package.request, data_return=package, kind="reminder", day=3, noted_at=now, trouble="no address"
        )
        LegalHold.objects.create(
            customer=one.customer, holder="The court of " + one.customer.code, basis="y", review_on=now.date(), placed_by="x", placed_at=now
        )
        asked = TermChangeRequest(what="shorter for " + one.customer.code, why="y", plan_digest="0" * 64, requested_by=by, requested_at=now)
        asked.subscription, asked.changes = one.subscription, {"agreed_retention_years": 7}
        asked.save()


def test_everything_of_the_own_customers_with_what_to_do(as_: As, own: Belongings, people: dict[str, User]) -> None:
    busy(own, people["ada"])
    text = page(as_("ada"))
    assert "in 20 days" in text and url("subscription_renew", own.subscription.pk) in text
    assert f"{url('termchangerequest_add')}?subscription={own.subscription.pk}" in text
    assert "8 days ago" in text and "1 sent" in text and "no address" in text and "Record the receipt" in text
    assert "A reminder on" in text
    assert reverse("admin:l2l_backups_run_change", args=[own.run.pk]) in text
    assert "should have gone" in text and "6 May 2025" in text and "4 Mar 2027" in text and "2 Jan 2026" in text
    assert "The court of acme" in text and "shorter for acme" in text


def test_nothing_of_a_foreign_customer(as_: As, own: Belongings, foreign: Belongings, people: dict[str, User]) -> None:
    busy(foreign, people["olga"])
    text = page(as_("ada"))
    assert "bolt" not in text
    assert "None ends within 90 days" in text and "Nothing that you asked for waits" in text and "None failed or was missed" in text


def test_what_goes_on_or_ends_later_is_not_told(as_: As, own: Belongings) -> None:
    ends(own, date.today() + 91 * DAY)
    assert "None ends within 90 days" in page(as_("ada"))
    ends(own, date.today() + 90 * DAY)
    assert "in 90 days" in page(as_("ada"))
    with audit.acting("setup", reason="a test", source="test"):
        own.customer.subscriptions.create(agreement_number="acme-2", start=date.today() + 91 * DAY)
    assert "None ends within 90 days" in page(as_("ada"))


def test_a_customer_that_was_destroyed_is_not_to_be_renewed(as_: As, own: Belongings, people: dict[str, User]) -> None:
    ends(own, date.today() - DAY)
    assert "over" in page(as_("ada")) and "Ask for its end" in page(as_("ada"))
    with audit.acting("setup", reason="a test", source="test"):
        about = {"approved_by": people["rita"], "plan_digest": "0" * 64, "requested_at": datetime.now(UTC)}
        DeletionRequest.objects.create(customer=own.customer, state="destroyed", why="x", **about)
    assert "None ends within 90 days" in page(as_("ada"))


def test_a_superviser_looks_at_another_one_s_work(as_: As, own: Belongings, foreign: Belongings, people: dict[str, User]) -> None:
    busy(own, people["ada"])
    overview = page(as_("rita"))
    assert f"?manager={people['ada'].pk}" in overview and "1 customer has no account manager" in overview
    text = page(as_("rita"), f"?manager={people['ada'].pk}")
    assert "Work of ada" in text and "in 20 days" in text and "shorter for acme" in text
    assert "Renew</a>" not in text  # she may not
    assert "acme" not in page(as_("rita"), "?manager=none")
    assert as_("ada").get(reverse("admin:my_work") + f"?manager={people['rita'].pk}").status_code == 403
    assert as_("rita").get(reverse("admin:my_work") + "?manager=999999").status_code == 404
    assert as_("rita").get(reverse("admin:my_work") + "?manager=x").status_code == 404


@pytest.mark.parametrize("who", ["olga", "otto", "anna", "nobody"])
def test_it_is_for_who_looks_after_customers(as_: As, who: str) -> None:
    assert as_(who).get(reverse("admin:my_work")).status_code == 403


def test_ten_customers_take_as_many_queries_as_one(as_: As, belongings: Any, people: dict[str, User]) -> None:
    def queries() -> int:
        client = as_("ada")
        with CaptureQueriesContext(
            connection,
        ) as found:
            page(client)
        return len(found)

    busy(belongings("acme", people["ada"]), people["ada"])
    one = queries()
    for number in range(4):
        busy(belongings(f"more-{number}", people["ada"]), people["ada"])
    assert queries() == one


def test_the_next_step_about_a_receipt() -> None:
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert next_step(since, since + DAY) == "a reminder on 4 March"
    assert next_step(since, since + 3 * DAY) == "a reminder on 8 March"
    assert next_step(since, since + 21 * DAY) == "the management is told on 31 March"
    assert "the management was told" in next_step(since, since + 30 * DAY)
