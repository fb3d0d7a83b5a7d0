"""From the request to the approval: who may do what, when, and what is refused (P5, P10, P11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction

from audit import freezes
from audit.errors import Frozen
from audit.grants import grant_role
from audit.models import Event, Stream
from audit.roles import Role
from audit.two_person import ApprovalRefused, PlanChanged, digest_of
from subscriptions import holds
from subscriptions.ending import approving, clock, destroying, receipts, requests, returns, standing
from subscriptions.ending.states import MoveRefused
from subscriptions.holds import OnHold
from subscriptions.models import Customer, DataRecord, DataReturn, DeletionRequest, Receipt
from tests.subscriptions.ending.conftest import DAY, NOW, PACKAGE, PLAN, made

Receive = Callable[..., Receipt]


def approve(request: DeletionRequest, by: User, **about: Any) -> DeletionRequest:
    facts: dict[str, Any] = {"password": "pw", "code": "acme", "why": "the receipt is right", "plan": PLAN, "now": NOW}
    return approving.approve(request, by=by, **facts | about)


def fresh(request: DeletionRequest) -> DeletionRequest:
    return DeletionRequest.objects.get(pk=request.pk)


def events(name: str) -> list[dict[str, Any]]:
    return list(Event.objects.filter(event=name).order_by("number").values_list("facts", flat=True))


# Asking


def test_it_opens_by_itself_on_the_day_after_the_last_day(over: Customer, acme2: Customer) -> None:
    [request] = requests.open_due(NOW)
    assert (request.customer, request.requested_by, request.state) == (over, None, "requested")
    assert requests.open_due(NOW) == [] and requests.owed(NOW) == []
    assert events("deletion:requested") == [{"end": (date.today() - timedelta(days=5)).isoformat()}]


def test_one_without_a_request_is_owed(over: Customer, acme2: Customer, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert requests.owed(NOW) == [over]


def test_a_last_day_lasts_as_long_as_it_does_where_the_customer_is(over: Customer) -> None:
    """It is over in Auckland when it has begun in Honolulu."""
    last = over.subscriptions.get().end
    noon = datetime(last.year, last.month, last.day, 12, tzinfo=UTC)
    for zone, owed in (("Pacific/Auckland", [over]), ("Pacific/Honolulu", [])):
        over.zone = zone
        over.save()
        assert requests.owed(noon) == owed


def test_what_a_person_cancelled_does_not_open_again_for_the_same_last_day(asked: DeletionRequest, people: dict[str, User]) -> None:
    requests.cancel(asked, by=people["ada"], why="they stay", now=NOW)
    assert requests.open_due(NOW) == []
    subscription = asked.customer.subscriptions.get()
    subscription.end = date.today() - timedelta(days=2)
    subscription.save_terms()
    assert len(requests.open_due(NOW)) == 1


def test_a_running_subscription_ends_nobody(acme: Customer, people: dict[str, User]) -> None:
    assert requests.open_due(NOW) == []
    with pytest.raises(MoveRefused, match="has no last day"):
        requests.open_request(acme, by=people["ada"], why="x", now=NOW)


def test_asked_for_ahead_it_waits_for_the_last_day(over: Customer, people: dict[str, User]) -> None:
    subscription = over.subscriptions.get()
    subscription.end = date.today() + timedelta(days=9)
    subscription.save_terms()
    request = requests.open_request(over, by=people["ada"], why="they gave notice", now=NOW)
    assert returns.due(NOW) == []
    with pytest.raises(MoveRefused, match="runs until"):
        returns.begin(request, now=NOW)
    with pytest.raises(MoveRefused, match="runs until"):
        requests.waive(request, by=people["ada"], document=ContentFile(b"x", "w.pdf"), why="x", now=NOW)
    assert returns.due(NOW + 11 * DAY) == [request]


@pytest.mark.parametrize("by", ["bo", "rita", "olga", "otto"])
def test_only_the_account_manager_of_the_customer_asks(over: Customer, people: dict[str, User], by: str) -> None:
    with pytest.raises(MoveRefused, match=f"{by} may not"):
        requests.open_request(over, by=people[by], why="x", now=NOW)


def test_there_is_one_end_at_a_time(asked: DeletionRequest, people: dict[str, User]) -> None:
    with pytest.raises(MoveRefused, match="under way already"):
        requests.open_request(asked.customer, by=people["ada"], why="again", now=NOW)


# The return


def test_the_package_comes_and_the_customer_is_left_alone(package: DataReturn, acme2: Customer) -> None:
    request = fresh(package.request)
    assert (request.state, package.number, returns.current(request)) == ("returned", 1, package)
    assert standing.frozen_for_return() == standing.left_alone() == {request.stream} and standing.ended() == set()
    with pytest.raises(Frozen), transaction.atomic():
        DataRecord.objects.create(customer=request.customer, kind="x", reference="late")


def test_a_fault_makes_room_for_another_package(package: DataReturn, people: dict[str, User], receive: Receive) -> None:
    returns.report_fault(package, what="the zip does not open", by_name="Ann Acme", by=people["ada"], now=NOW)
    assert (fresh(package.request).state, returns.current(package.request)) == ("returning", None)
    second = made(package.request)
    assert second.number == 2
    with pytest.raises(MoveRefused, match="another one takes its place"):
        receive(package)
    receive(second)
    assert fresh(package.request).state == "acknowledged"


def test_each_hand_over_is_an_event_and_the_first_counts(package: DataReturn) -> None:
    returns.delivered(package, way="link", now=NOW)
    returns.delivered(package, way="staff", now=NOW + DAY)
    assert DataReturn.objects.get(pk=package.pk).delivered_at == NOW
    assert [one["way"] for one in events("return:handed-over")] == ["link", "staff"]


# The receipt


def test_a_receipt_starts_the_clock(package: DataReturn, receive: Receive) -> None:
    receipt = receive(package, package_sha256=f" {PACKAGE.upper()}\n")
    request = fresh(package.request)
    stands = clock.of(request, NOW)
    assert (request.state, request.acknowledged_at, receipt.kind) == ("acknowledged", NOW, "staff")
    assert stands is not None and stands.due_at == NOW + 30 * DAY and stands.target_at == NOW + 21 * DAY
    assert events("receipt:recorded") == [{"kind": "staff", "number": 1, "sha256": PACKAGE}]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"package_sha256": "cd" * 32}, "not the digest of this package"),
        ({"package_sha256": ""}, "not the digest of this package"),
        ({"package_sha256": "ä" * 32}, "not the digest of this package"),
        ({"verified_by": " "}, "who at the customer"),
        ({"how": ""}, "who at the customer"),
        ({"verified_at": NOW + DAY}, "not in the future"),
        ({"verified_at": NOW - DAY}, "after the package was made"),
    ],
)
def test_a_receipt_of_something_else_is_refused(package: DataReturn, receive: Receive, about: dict[str, Any], said: str) -> None:
    with pytest.raises(MoveRefused, match=said):
        receive(package, **about)
    assert fresh(package.request).state == "returned" and not Receipt.objects.exists()


def test_a_form_that_knows_no_seconds_means_the_minute_of_the_making(package: DataReturn) -> None:
    package.made_at = NOW.replace(second=40)
    minute = NOW.replace(second=0)
    assert receipts.of_minute(minute, package) == package.made_at
    for other in (minute - timedelta(minutes=1), minute + timedelta(minutes=1), minute + timedelta(seconds=1)):
        assert receipts.of_minute(other, package) == other


def test_the_customer_gives_it_itself(package: DataReturn) -> None:
    receipt = receipts.acknowledge(package, package_sha256=PACKAGE, verified_by="Ann", how="bagit.py", verified_at=NOW, now=NOW)
    assert (receipt.kind, receipt.recorded_by) == ("customer", None)


NOTICE = ContentFile(b"letter", "letter.pdf")


def test_silence_counts_where_it_was_agreed_by_two_approvers(package: DataReturn, people: dict[str, User], second: User) -> None:
    returns.delivered(package, way="link", now=NOW)
    package.refresh_from_db()
    with pytest.raises(MoveRefused, match="Silence counts from"):
        receipts.ask_deemed(package, by=people["rita"], notice=NOTICE, why="no answer", now=NOW + 29 * DAY)
    later = NOW + 30 * DAY
    asked = receipts.ask_deemed(package, by=people["rita"], notice=NOTICE, why="no answer", now=later)
    with pytest.raises(ApprovalRefused, match="another person"):
        receipts.approve_deemed(asked, by=people["rita"], password="pw", now=later)
    receipt = receipts.approve_deemed(asked, by=second, password="pw", now=later)
    assert (receipt.kind, receipt.recorded_by) == ("deemed", people["rita"])
    assert fresh(package.request).acknowledged_at == later
    with pytest.raises(ApprovalRefused, match="another person"):
        approve(fresh(package.request), people["rita"], now=later)


def test_silence_does_not_count_where_it_was_not_agreed_or_nothing_was_handed_over(package: DataReturn, people: dict[str, User]) -> None:
    with pytest.raises(MoveRefused, match="never handed over"):
        receipts.ask_deemed(package, by=people["rita"], notice=NOTICE, why="x", now=NOW + 40 * DAY)
    subscription = package.request.customer.subscriptions.get()
    subscription.deemed_receipt_allowed = False
    subscription.save()
    with pytest.raises(MoveRefused, match="does not let silence count"):
        receipts.ask_deemed(package, by=people["rita"], notice=NOTICE, why="x", now=NOW + 40 * DAY)


def test_an_account_manager_cannot_let_silence_count(package: DataReturn, people: dict[str, User]) -> None:
    returns.delivered(package, way="link", now=NOW)
    package.refresh_from_db()
    with pytest.raises(MoveRefused, match="ada may not"):
        receipts.ask_deemed(package, by=people["ada"], notice=NOTICE, why="x", now=NOW + 40 * DAY)


# Waived


def test_a_waiver_freezes_at_once_and_starts_the_clock(asked: DeletionRequest, people: dict[str, User]) -> None:
    with pytest.raises(MoveRefused, match="Add the document"):
        requests.waive(asked, by=people["ada"], document=None, why="they say so", now=NOW)  # type: ignore[arg-type]
    waived = requests.waive(asked, by=people["ada"], document=ContentFile(b"waiver", "w.pdf"), why="they say so", now=NOW)
    assert (waived.state, waived.acknowledged_at, len(waived.waiver_sha256)) == ("waived", NOW, 64)
    with pytest.raises(Frozen), transaction.atomic():
        DataRecord.objects.create(customer=asked.customer, kind="x", reference="late")
    with pytest.raises(ApprovalRefused, match="another person"):
        _as_approver_too(people["ada"])
        approve(fresh(asked), people["ada"])
    assert approve(fresh(asked), people["rita"]).state == "approved"


def _as_approver_too(user: User) -> None:
    grant_role(user, Role.RECEIPT_APPROVER, reason="a test", now=NOW, since=NOW - 30 * DAY)
    user.__dict__.pop("_perm_cache", None)


# The approval


@pytest.fixture
def received(package: DataReturn, receive: Receive) -> DeletionRequest:
    receive(package)
    return fresh(package.request)


def test_another_person_approves_the_plan_and_it_cools_off(received: DeletionRequest, people: dict[str, User]) -> None:
    done = approve(received, people["rita"])
    assert (done.state, done.approved_by, done.plan_digest) == ("approved", people["rita"], digest_of(PLAN))
    assert done.may_begin_at == NOW + 3 * DAY and destroying.ready(NOW + 2 * DAY) == []
    with pytest.raises(MoveRefused, match="cools off until"):
        destroying.begin(done, plan=PLAN, now=NOW + 2 * DAY)
    with pytest.raises(PlanChanged):
        destroying.begin(done, plan=PLAN | {"objects": 4}, now=NOW + 3 * DAY)
    assert destroying.ready(NOW + 3 * DAY) == [done]
    begun = destroying.begin(done, plan=PLAN, now=NOW + 3 * DAY)
    assert begun.state == "destroying" and standing.ended() == {begun.stream}
    assert destroying.destroyed(begun, now=NOW + 5 * DAY).state == "destroyed"
    assert destroying.reopen(begun, why="a copy was found", now=NOW + 12 * DAY).destroyed_at is None


@pytest.mark.parametrize(
    ("by", "about", "refusal", "said"),
    [
        ("ada", {}, MoveRefused, "needs the right"),
        ("olga", {}, MoveRefused, "needs the right"),
        ("otto", {}, MoveRefused, "needs the right"),
        ("rita", {"code": "acme2"}, MoveRefused, "Type the customer's short code"),
        ("rita", {"password": "wrong"}, ApprovalRefused, "not your password"),
        ("rita", {"why": " "}, MoveRefused, "Say why"),
    ],
)
def test_an_approval_that_is_not_right_is_refused(
    received: DeletionRequest, people: dict[str, User], by: str, about: dict[str, Any], refusal: type[Exception], said: str
) -> None:
    with pytest.raises(refusal, match=said):
        approve(received, people[by], **about)
    assert fresh(received).state == "acknowledged"


def test_whoever_asked_or_recorded_the_receipt_does_not_approve(received: DeletionRequest, people: dict[str, User]) -> None:
    _as_approver_too(people["ada"])
    with pytest.raises(ApprovalRefused, match="another person"):
        approve(received, User.objects.get(username="ada"))
    with pytest.raises(IntegrityError), transaction.atomic():  # and the database refuses it too
        DeletionRequest.objects.filter(pk=received.pk).tracked_change(state="approved", approved_by=people["ada"], plan_digest="x")


def test_a_right_of_today_approves_nothing(received: DeletionRequest, people: dict[str, User]) -> None:
    young = User.objects.create_user("una", password="pw")
    grant_role(young, Role.RECEIPT_APPROVER, reason="a test", now=NOW, since=NOW - timedelta(hours=23))
    with pytest.raises(ApprovalRefused, match="less than 24 hours"):
        approve(received, young)
    assert [one["why"] for one in events("approval:failed")] == ["not-entitled"]


def test_a_hold_stops_the_approval_and_the_destruction(received: DeletionRequest, people: dict[str, User]) -> None:
    about = {"holder": "a court", "basis": "1 O 2/26", "review_on": date.today() + timedelta(days=90), "by": people["olga"]}
    approved = approve(received, people["rita"])
    hold = holds.place(received.customer, **about, now=NOW)
    with pytest.raises(OnHold):
        destroying.begin(approved, plan=PLAN, now=NOW + 4 * DAY)
    voided = approving.void(approved, why="the plan no longer holds", now=NOW)
    assert (voided.state, voided.plan_digest, voided.approved_by) == ("acknowledged", "", None)
    with pytest.raises(OnHold):
        approve(voided, people["rita"])
    stands = clock.of(voided, NOW + 5 * DAY)
    assert stands is not None and stands.paused and hold.is_open


def test_a_subscription_that_was_renewed_meanwhile_stops_everything(received: DeletionRequest, people: dict[str, User]) -> None:
    approved = approve(received, people["rita"])
    subscription = received.customer.subscriptions.get()
    subscription.end = None
    subscription.save_terms()
    with pytest.raises(MoveRefused, match="without a last day"):
        destroying.begin(approved, plan=PLAN, now=NOW + 4 * DAY)
    cancelled = requests.cancel(approved, by=people["ada"], why="renewed", now=NOW + 4 * DAY)
    assert cancelled.state == "cancelled" and Stream.objects.get(pk=cancelled.stream).frozen_at is None
    DataRecord.objects.create(customer=received.customer, kind="x", reference="goes on")
    with pytest.raises(MoveRefused, match="It is cancelled"):
        requests.cancel(cancelled, by=people["ada"], why="again", now=NOW)


def test_an_approver_takes_the_approval_back_while_it_cools_off(received: DeletionRequest, people: dict[str, User], second: User) -> None:
    approved = approve(received, people["rita"])
    with pytest.raises(ApprovalRefused):
        approving.take_back(approved, by=people["ada"], why="wait", now=NOW)
    assert approving.take_back(approved, by=second, why="wait", now=NOW).state == "acknowledged"
    assert approve(fresh(received), second).state == "approved"


def test_cancelling_leaves_a_freeze_that_is_not_its_own(asked: DeletionRequest, people: dict[str, User]) -> None:
    freezes.freeze(asked.stream, reason="a live restore")
    requests.cancel(asked, by=people["ada"], why="they stay", now=NOW)
    assert Stream.objects.get(pk=asked.stream).frozen_reason == "a live restore"
