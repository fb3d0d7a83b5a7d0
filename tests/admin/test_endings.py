"""The pages of a customer's end: from asking to the approval, who may do what, and what the front page tells (P10 to P12)."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

import audit
from audit import freezes
from audit.grants import grant_role
from audit.models import Event, Stream
from audit.roles import Role
from subscriptions.ending import requests, returns
from subscriptions.models import Customer, DataReturn, DeletionRequest, Receipt
from tests.admin.conftest import Belongings, url
from tests.admin.test_holds import place

As = Callable[[str], Client]
BYTES = b"the package"
DIGEST = hashlib.sha256(BYTES).hexdigest()


@pytest.fixture
def ripe(people: dict[str, User], settings: Any) -> dict[str, User]:
    """Rita, who approves, has had her role for a month."""
    settings.L2L_SAMPLE = True
    now = datetime.now(UTC)
    with audit.acting("setup", reason="a test"):
        people["rita"].groups.clear()
        grant_role(people["rita"], Role.RECEIPT_APPROVER, reason="a test", now=now, since=now - timedelta(days=30))
    return people


@pytest.fixture
def over(ripe: dict[str, User], own: Belongings) -> Customer:
    """Ada's customer, whose subscription is over."""
    return ended(own)


def ended(one: Belongings) -> Customer:
    one.subscription.end = date.today() - timedelta(days=5)
    with audit.acting("setup", reason="a test"):
        one.subscription.save_terms()
    return one.customer


def ask(customer: Customer, by: User, *, at: datetime | None = None) -> DeletionRequest:
    with audit.acting(by.get_username(), source="test"):
        return requests.open_request(customer, by=by, why="the contract ended", now=at or datetime.now(UTC))


def packed(ending: DeletionRequest, folder: Path, *, at: datetime | None = None) -> DataReturn:
    """As the worker does when the package stands."""
    now, path = at or datetime.now(UTC) - timedelta(hours=1), folder / "acme-return-1.zip"
    path.write_bytes(BYTES)
    with audit.acting("worker", reason="a test", source="test"):
        returns.begin(ending, now=datetime.now(UTC))
        freezes.freeze(ending.stream, reason=requests.freeze_reason(ending))
        returns.frozen(ending, at=now)
        about = {"package_sha256": DIGEST, "manifest_sha256": "cd" * 32, "size": len(BYTES), "file_name": path.name, "path": str(path)}
        counts = {"rows/l2l_subscriptions.datarecord": 3}
        return returns.returned(ending, set_id=uuid.uuid4(), encrypted_to="", counts=counts, now=now, **about)


@pytest.fixture
def package(over: Customer, ripe: dict[str, User], tmp_path: Path) -> DataReturn:
    return packed(ask(over, ripe["ada"]), tmp_path)


def page(client: Client, ending: DeletionRequest) -> str:
    return client.get(url("deletionrequest_change", ending.pk)).content.decode()


def step(client: Client, name: str, ending: DeletionRequest, **values: Any) -> str:
    """What the page says after that step."""
    return client.post(url(f"deletionrequest_{name}", ending.pk), values, follow=True).content.decode()


def receipt(**changes: Any) -> dict[str, Any]:
    at = f"{datetime.now(UTC) - timedelta(minutes=1):%Y-%m-%dT%H:%M}"
    return {"verified_by": "Mia, IT", "package_sha256": DIGEST, "how": "sha256sum", "verified_at": at} | changes


def test_it_is_asked_for_on_the_customers_page_which_says_so(as_: As, own: Belongings) -> None:
    ada, overview = as_("ada"), url("customer_overview", own.customer.pk)
    address = f"{url('deletionrequest_add')}?customer={own.customer.pk}"
    assert address in ada.get(overview).content.decode() and address not in as_("rita").get(overview).content.decode()
    assert "has no last day" in ada.post(address, {"why": "x"}).content.decode() and not DeletionRequest.objects.exists()
    ended(own)
    told = ada.post(address, {"why": "they move to another vendor"}, follow=True)
    ending = DeletionRequest.objects.get()
    assert told.redirect_chain[-1][0] == url("deletionrequest_change", ending.pk)
    assert (ending.requested_by, ending.why) == (User.objects.get(username="ada"), "they move to another vendor")
    shown = ada.get(overview).content.decode()
    assert url("deletionrequest_change", ending.pk) in shown and address not in shown
    assert "under way already" in ada.post(address, {"why": "again"}).content.decode()


def test_many_ends_cost_no_more_statements_than_one(
    as_: As, over: Customer, ripe: dict[str, User], belongings: Callable[..., Belongings]
) -> None:
    """Whose turn it is depends on each customer's contracts."""
    ada, addresses = as_("ada"), (url("deletionrequest_changelist"), "/")
    ask(over, ripe["ada"])

    def statements() -> list[int]:
        found = []
        for address in addresses:
            ada.get(address)
            with CaptureQueriesContext(connection) as captured:
                told = ada.get(address).content.decode()
            assert "nobody yet" not in told
            found.append(len(captured))
        return found

    of_one = statements()
    for code in ("bolt", "cargo"):
        ask(ended(belongings(code, ripe["ada"])), ripe["ada"])
    assert statements() == of_one
    assert ada.get(addresses[0]).content.decode().count("the back office") >= 3


def test_nobody_asks_for_a_customer_that_they_may_not_see(as_: As, foreign: Belongings) -> None:
    ended(foreign)
    address = f"{url('deletionrequest_add')}?customer={foreign.customer.pk}"
    assert as_("ada").post(address, {"why": "x"}).status_code == 404
    assert as_("rita").post(address, {"why": "x"}).status_code == 403 and not DeletionRequest.objects.exists()


def test_the_page_says_whose_turn_it_is_and_who_may(as_: As, over: Customer, ripe: dict[str, User], tmp_path: Path) -> None:
    ending = ask(over, ripe["ada"])
    assert "It begins the return within the hour" in page(as_("otto"), ending)
    package = packed(ending, tmp_path)
    shown = page(as_("ada"), ending)
    assert "It verifies the package" in shown and DIGEST in shown and "not handed over yet" in shown and "Record the receipt" in shown
    assert "Record the receipt" not in page(as_("rita"), ending) and "Record the receipt" not in page(as_("olga"), ending)
    step(as_("ada"), "receipt", ending, **receipt())
    shown = page(as_("ada"), ending)
    assert re.search(r"<dt>Who may</dt><dd>rita</dd>", shown) and "You may not approve this" in shown
    assert "Look at the plan and approve" in page(as_("rita"), ending)
    assert Receipt.objects.get().data_return == package


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"package_sha256": "0" * 64}, "not the digest of this package"),
        ({"verified_by": " "}, "This field is required"),
        ({"verified_at": "2020-01-01T00:00"}, "look at the time"),
    ],
)
def test_a_receipt_that_does_not_fit_is_refused(as_: As, package: DataReturn, changes: dict[str, Any], said: str) -> None:
    assert said in step(as_("ada"), "receipt", package.request, **receipt(**changes))
    assert not Receipt.objects.exists() and DeletionRequest.objects.get().state == "returned"


def test_steps_are_refused_in_the_wrong_state_and_to_the_wrong_people(as_: As, package: DataReturn) -> None:
    ending = package.request
    for name in ("begin_return", "waive", "approve", "take_back", "ask_deemed"):
        assert as_("root").post(url(f"deletionrequest_{name}", ending.pk), {"reason": "x"}).status_code == 403, name
    for name in ("receipt", "fault", "link", "download", "cancel"):
        for person in ("rita", "olga", "otto"):
            assert as_(person).post(url(f"deletionrequest_{name}", ending.pk), receipt()).status_code == 403, (name, person)
    assert DeletionRequest.objects.get().state == "returned"


def test_staff_download_it_by_post_and_that_is_recorded(as_: As, package: DataReturn) -> None:
    address = url("deletionrequest_download", package.request_id)
    assert as_("ada").get(address).status_code == 405 and not Event.objects.filter(event="return:handed-over").exists()
    answer = as_("ada").post(address)
    assert b"".join(answer.streaming_content) == BYTES and "acme-return-1.zip" in answer["Content-Disposition"]
    event = Event.objects.get(event="return:handed-over")
    assert (event.actor, event.facts["way"]) == ("ada", "staff") and DataReturn.objects.get().delivered_at is not None


def test_a_link_is_shown_once_and_opens_the_customers_page(as_: As, package: DataReturn) -> None:
    ada = as_("ada")
    assert "/receipt/" not in ada.get(url("deletionrequest_link", package.request_id)).content.decode()
    shown = ada.post(url("deletionrequest_link", package.request_id)).content.decode()
    found = re.search(r"http://testserver(/receipt/[^<\s]+)", shown)
    assert found and DIGEST in Client().get(found[1]).content.decode()


def test_a_fault_makes_room_for_another_package_and_ends_the_links(as_: As, package: DataReturn) -> None:
    ada, ending = as_("ada"), package.request
    link = re.search(r"(/receipt/[^<\s]+)", ada.post(url("deletionrequest_link", ending.pk)).content.decode())
    shown = step(ada, "fault", ending, by_name="Mia, IT", what="the zip cannot be opened")
    assert "another package is made" in shown and "the zip cannot be opened" in shown and DeletionRequest.objects.get().state == "returning"
    assert link and Client().get(link[1]).status_code == 410
    assert ada.post(url("deletionrequest_fault", ending.pk), {"by_name": "Mia", "what": "again"}).status_code == 403


def test_a_waiver_needs_its_document(as_: As, over: Customer, ripe: dict[str, User]) -> None:
    ending = ask(over, ripe["ada"])
    assert "This field is required" in step(as_("ada"), "waive", ending, reason="they keep a copy")
    letter = SimpleUploadedFile("letter.pdf", b"%PDF-1.4 we want nothing back")
    shown = step(as_("ada"), "waive", ending, reason="they keep a copy", document=letter)
    assert "The waiver is on record" in shown and "waived by the customer" in shown
    answer = as_("otto").get(url("deletionrequest_file", ending.pk, "waiver"))
    assert b"".join(answer.streaming_content) == b"%PDF-1.4 we want nothing back"


# Approving


@pytest.fixture
def received(as_: As, package: DataReturn) -> DeletionRequest:
    step(as_("ada"), "receipt", package.request, **receipt())
    return DeletionRequest.objects.get()


def approval(plan: str, **changes: Any) -> dict[str, Any]:
    return {"code": "acme", "why": "receipt checked", "password": "pw", "plan": plan} | changes


def test_a_plan_that_cannot_be_made_is_said_and_nothing_is_approved(as_: As, received: DeletionRequest, settings: Any) -> None:
    settings.L2L_LOCATIONS, settings.L2L_OFFSITE = "primary=file:///nowhere/at/all", []
    assert "No plan can be made now" in as_("otto").get(url("deletionrequest_plan", received.pk)).content.decode()
    step(as_("rita"), "approve", received, **approval("0" * 64))
    assert DeletionRequest.objects.get().state == "acknowledged"


def test_nobody_who_took_part_approves(as_: As, received: DeletionRequest) -> None:
    assert "another person must approve" not in page(as_("rita"), received)
    with audit.acting("setup", reason="a test"):
        received.requested_by = User.objects.get(username="rita")
        received.save()
    assert "another person must approve" in page(as_("rita"), received)
    assert as_("rita").post(url("deletionrequest_approve", received.pk), approval("0" * 64)).status_code == 403


# What the front page and the list tell


def test_the_approver_sees_receipts_that_wait_first(as_: As, received: DeletionRequest) -> None:
    front = as_("rita").get("/").content.decode()
    assert "Receipts waiting for you" in front and url("deletionrequest_change", received.pk) in front and "left, until" in front
    assert "Receipts waiting for you" not in as_("ada").get("/").content.decode()


def test_account_managers_see_what_their_customers_wait_for(as_: As, package: DataReturn) -> None:
    assert "the package is ready and was not handed over" in as_("ada").get("/").content.decode()
    assert b"".join(as_("ada").post(url("deletionrequest_download", package.request_id)).streaming_content) == BYTES
    assert "its receipt is outstanding" in as_("ada").get("/").content.decode()
    assert "its receipt is outstanding" not in as_("otto").get("/").content.decode()


def test_overdue_is_an_alarm_for_everybody_who_sees_the_customer(
    as_: As, over: Customer, ripe: dict[str, User], foreign: Belongings
) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=40)
    with audit.acting("setup", reason="a test"):
        for customer in (over, ended(foreign)):
            about = {"state": "acknowledged", "why": "x", "requested_by": ripe["ada"], "requested_at": long_ago}
            DeletionRequest.objects.create(customer=customer, acknowledged_at=long_ago, **about)
    for name in ("ada", "olga", "otto", "rita"):
        assert "OVERDUE since" in as_(name).get("/").content.decode(), name
    assert foreign.customer.name not in as_("ada").get("/").content.decode()
    listed = as_("otto").get(f"{url('deletionrequest_changelist')}?standing=overdue").context["cl"].result_list
    assert len(listed) == 2 and "OVERDUE" in as_("otto").get(url("deletionrequest_changelist")).content.decode()
    assert len(as_("ada").get(url("deletionrequest_changelist")).context["cl"].result_list) == 1


def test_a_hold_pauses_the_clock_and_the_page_says_so(as_: As, received: DeletionRequest, ripe: dict[str, User]) -> None:
    place(ripe["olga"], received.customer)
    shown = page(as_("ada"), received)
    assert "paused by a legal hold" in shown and "nothing is destroyed until it is released" in shown


def test_a_customer_whose_end_nobody_asked_for_is_a_broken_control(as_: As, over: Customer) -> None:
    assert "nobody has asked for its end" in as_("otto").get("/").content.decode()


def test_cancelled_the_customer_goes_on(as_: As, package: DataReturn) -> None:
    shown = step(as_("ada"), "cancel", package.request, reason="they stay")
    assert "Cancelled: the customer goes on" in shown and "they stay" in shown
    assert Stream.objects.get(pk=package.request.customer_id).frozen_at is None
