"""The pages of legal holds: placed on the customer's page, reviewed, released by two; and what tells of them (P9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils.timezone import localdate

import audit
from audit import two_person
from audit.grants import grant_role
from audit.roles import Role
from subscriptions import holds
from subscriptions.models import Customer, HoldReleaseRequest, LegalHold
from tests.admin.conftest import Belongings, url

As = Callable[[str], Client]
LATER = timedelta(days=90)


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Rita, who approves, has had her role for a month."""
    settings.L2L_SAMPLE = True
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        people["rita"].groups.clear()
        grant_role(people["rita"], Role.RECEIPT_APPROVER, reason="a test", now=now, since=now - timedelta(days=30))
    return people


def place(by: User, customer: Customer, *, holder: str = "District Court", placed: timedelta = timedelta()) -> LegalHold:
    """Placed so long ago, for a review 90 days later."""
    at = datetime.now(UTC) - placed
    with audit.acting(by.get_username(), source="test"):
        return holds.place(customer, holder=holder, basis="file 4 O 17/26", review_on=localdate(at) + LATER, by=by, now=at)


@pytest.fixture
def hold(ripe: dict[str, User], own: Belongings) -> LegalHold:
    return place(ripe["ada"], own.customer)


def ask(client: Client, hold: LegalHold) -> HoldReleaseRequest:
    response = client.post(url("legalhold_ask_for_release", hold.pk), {"reason": "the case is closed"}, follow=True)
    asked = HoldReleaseRequest.objects.get(state="requested")
    assert response.redirect_chain[-1][0] == url("holdreleaserequest_change", asked.pk)
    return asked


def approve(client: Client, asked: HoldReleaseRequest, password: str = "pw") -> str:
    return client.post(url("holdreleaserequest_approve", asked.pk), {"password": password}, follow=True).content.decode()


def address_of_placing(customer: Customer) -> str:
    return f"{url('legalhold_add')}?customer={customer.pk}"


def form(**changes: Any) -> dict[str, Any]:
    return {"holder": "District Court", "basis": "file 4 O 17/26", "review_on": localdate() + LATER} | changes


def test_it_is_placed_from_the_customers_page_which_says_so_from_then_on(as_: As, own: Belongings) -> None:
    ada, overview = as_("ada"), url("customer_overview", own.customer.pk)
    assert address_of_placing(own.customer) in ada.get(overview).content.decode()
    page = ada.get(address_of_placing(own.customer)).content.decode()
    assert f'type="date" name="review_on" value="{localdate() + LATER}"' in page
    assert "nothing of this customer is removed for good" in page and "another approves" in page
    assert not LegalHold.objects.exists()
    told = ada.post(address_of_placing(own.customer), form(), follow=True)
    hold = LegalHold.objects.get()
    assert told.redirect_chain[-1][0] == url("legalhold_change", hold.pk)
    assert "The legal hold is in force" in told.content.decode()
    page = ada.get(overview).content.decode()
    assert "on legal hold" in page and url("legalhold_change", hold.pk) in page
    assert "kept while a legal hold is open" in page and "not before the legal hold is released" in page
    assert (hold.placed_by, hold.customer_id) == ("ada", own.customer.pk)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"holder": ""}, "This field is required"),
        ({"review_on": "2020-01-01"}, "That day is over"),
        ({"review_on": "x"}, "Enter a valid date"),
    ],
)
def test_what_does_not_fit_is_said_and_places_nothing(as_: As, own: Belongings, changes: dict[str, Any], said: str) -> None:
    assert said in as_("ada").post(address_of_placing(own.customer), form(**changes)).content.decode()
    assert not LegalHold.objects.exists()


def test_nobody_places_one_on_a_customer_that_they_may_not_see(as_: As, foreign: Belongings) -> None:
    assert as_("ada").post(address_of_placing(foreign.customer), form()).status_code == 404
    assert as_("rita").post(address_of_placing(foreign.customer), form()).status_code == 403
    as_("olga").post(address_of_placing(foreign.customer), form())
    assert LegalHold.objects.get().placed_by == "olga"


def test_without_a_customer_one_is_sent_to_choose_one(as_: As, own: Belongings) -> None:
    response = as_("ada").get(url("legalhold_add"), follow=True)
    assert response.redirect_chain == [(url("customer_changelist"), 302)] and b"press \xe2\x80\x9cPlace a legal hold" in response.content


def test_no_form_changes_or_deletes_a_hold(as_: As, hold: LegalHold) -> None:
    client = as_("root")
    for page in ("change", "delete"):
        assert client.post(url(f"legalhold_{page}", hold.pk), {"holder": "nobody", "change_reason": "x", "post": "yes"}).status_code == 403
    assert client.post(url("legalhold_changelist"), {"action": "delete_selected", "_selected_action": [hold.pk]}).status_code in (200, 302)
    assert LegalHold.objects.get().holder == "District Court"


def test_the_list_has_open_ones_first_and_filters(as_: As, ripe: dict[str, User], own: Belongings, foreign: Belongings) -> None:
    released = place(ripe["ada"], own.customer, holder="Tax office", placed=timedelta(days=1))
    asked = ask(as_("ada"), released)
    approve(as_("rita"), asked)
    overdue = place(ripe["olga"], foreign.customer, holder="Customs", placed=timedelta(days=93))
    recent = place(ripe["ada"], own.customer)
    shown = {name: list(as_(name).get(url("legalhold_changelist")).context["cl"].result_list) for name in ("otto", "ada")}
    assert shown == {"otto": [overdue, recent, released], "ada": [recent, released]}
    for query, expected in (
        ("standing=open", {overdue, recent}),
        ("standing=due", {overdue}),
        ("standing=released", {released}),
        (f"customer={foreign.customer.pk}", {overdue}),
    ):
        assert set(as_("otto").get(f"{url('legalhold_changelist')}?{query}").context["cl"].result_list) == expected
    assert "overdue for 3 days" in as_("otto").get(url("legalhold_changelist")).content.decode()


def test_an_overdue_review_says_what_to_do_and_stands_on_the_front_page(as_: As, ripe: dict[str, User], own: Belongings) -> None:
    hold = place(ripe["ada"], own.customer, placed=timedelta(days=93))
    ada, page = as_("ada"), url("legalhold_change", hold.pk)
    told = ada.get("/").content.decode()
    assert "the review of the hold of District Court is due since" in told and page in told
    shown = ada.get(page).content.decode()
    assert "overdue for 3 days" in shown and "postpone the review and say why, or ask for its release" in shown
    sent = {"review_on": localdate() + LATER, "why": "the appeal is pending"}
    assert "The next review is on" in ada.post(url("legalhold_postpone", hold.pk), sent, follow=True).content.decode()
    assert "is due since" not in ada.get("/").content.decode()
    assert "the appeal is pending" in as_("otto").get(url("legalhold_history", hold.pk)).content.decode()


def test_the_front_page_tells_of_no_foreign_customers_hold(as_: As, ripe: dict[str, User], own: Belongings, foreign: Belongings) -> None:
    place(ripe["olga"], foreign.customer, placed=timedelta(days=93))
    assert "is due since" not in as_("ada").get("/").content.decode()
    assert "is due since" in as_("olga").get("/").content.decode()


def test_asked_by_one_released_by_another(as_: As, ripe: dict[str, User], hold: LegalHold, own: Belongings) -> None:
    asked = ask(as_("ada"), hold)
    assert "ada asks to release the legal hold of District Court on acme" in as_("rita").get("/").content.decode()
    shown = as_("rita").get(url("holdreleaserequest_approve", asked.pk)).content.decode()
    assert "file 4 O 17/26" in shown and "only open hold" in shown
    assert "counts again" in approve(as_("rita"), asked)
    page = as_("otto").get(url("legalhold_change", hold.pk)).content.decode()
    assert "ada asked for its release and rita approved it" in page and "the case is closed" in page
    overview = as_("ada").get(url("customer_overview", own.customer.pk)).content.decode()
    assert "on legal hold" not in overview and "kept while a legal hold" not in overview
    assert as_("ada").get(url("legalhold_postpone", hold.pk)).status_code == 403


def test_other_holds_of_the_customer_are_named(as_: As, ripe: dict[str, User], hold: LegalHold, own: Belongings) -> None:
    place(ripe["olga"], own.customer, holder="Tax office")
    assert "1 other hold is open" in as_("ada").get(url("legalhold_change", hold.pk)).content.decode()
    asked = ask(as_("ada"), hold)
    assert "1 other hold is open on this customer: nothing is removed until it is released too" in (
        as_("rita").get(url("holdreleaserequest_approve", asked.pk)).content.decode()
    )


def test_who_asked_cannot_approve_nor_a_wrong_password(as_: As, ripe: dict[str, User], hold: LegalHold) -> None:
    asked = ask(as_("ada"), hold)
    assert as_("ada").post(url("holdreleaserequest_approve", asked.pk), {"password": "pw"}).status_code == 403
    assert "It waits for another person" in as_("ada").get(url("holdreleaserequest_change", asked.pk)).content.decode()
    assert "That is not your password" in approve(as_("rita"), asked, "guess")
    assert LegalHold.objects.get().is_open


def test_a_second_request_is_refused_in_words(as_: As, ripe: dict[str, User], hold: LegalHold) -> None:
    button = url("legalhold_ask_for_release", hold.pk)
    assert button in as_("ada").get(url("legalhold_change", hold.pk)).content.decode()
    ask(as_("ada"), hold)
    assert button not in as_("ada").get(url("legalhold_change", hold.pk)).content.decode()
    assert "asked for already" in as_("ada").post(url("legalhold_ask_for_release", hold.pk), {"reason": "again"}).content.decode()
    assert HoldReleaseRequest.objects.count() == 1


def test_refused_or_cancelled_the_hold_stays(as_: As, ripe: dict[str, User], hold: LegalHold) -> None:
    for name, how, word in (("rita", "refuse", "refused"), ("ada", "cancel", "cancelled")):
        asked = ask(as_("ada"), hold)
        told = as_(name).post(url(f"holdreleaserequest_{how}", asked.pk), {"reason": "not now"}, follow=True).content.decode()
        assert f"The request is {word}" in told
    assert LegalHold.objects.get().is_open
    page = as_("ada").get(url("legalhold_change", hold.pk)).content.decode()
    assert "refused" in page and "cancelled" in page


def test_what_was_approved_before_a_crash_is_carried_out_afterwards(as_: As, ripe: dict[str, User], hold: LegalHold) -> None:
    asked = ask(as_("ada"), hold)
    two_person.approve(asked, by=ripe["rita"], password="pw", plan=holds.plan_of(hold), now=datetime.now(UTC))  # and then the process died
    page = url("holdreleaserequest_finish", asked.pk)
    assert page in as_("ada").get(url("holdreleaserequest_change", asked.pk)).content.decode()
    assert "counts again" in as_("ada").post(page, follow=True).content.decode()
    assert not LegalHold.objects.get().is_open
