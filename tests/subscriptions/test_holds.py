"""A legal hold: placed by one who may, seen by every removal, reviewed on its date, released by two (P9)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.timezone import localdate

from audit import two_person
from audit.models import Event
from audit.states import NotAllowed
from audit.two_person import ApprovalRefused, PlanChanged
from subscriptions.holds import (
    HoldRefused,
    OnHold,
    cancel,
    due_for_review,
    finish,
    held,
    place,
    plan_of,
    postpone_review,
    refuse,
    refuse_held,
    release,
    request_release,
)
from subscriptions.models import Customer, DataRecord, HoldReleaseRequest, LegalHold
from tests.audit.test_freezes import Elsewhere, two_connections, writer_under_way

NOW = datetime.now(UTC)
TODAY = localdate(NOW)
LATER = TODAY + timedelta(days=90)
Placing = Callable[..., LegalHold]


@pytest.fixture
def placing(people: dict[str, User], acme: Customer) -> Placing:
    def placed(by: str = "ada", **options: Any) -> LegalHold:
        about = {"holder": "District Court", "basis": "file 4 O 17/26", "review_on": LATER, "now": NOW} | options
        return place(about.pop("customer", acme), by=people[by], **about)

    return placed


@pytest.fixture
def hold(placing: Placing) -> LegalHold:
    return placing()


@pytest.fixture
def asked(hold: LegalHold, people: dict[str, User]) -> HoldReleaseRequest:
    return request_release(hold, by=people["ada"], why="the case is closed", now=NOW)


def removes(customer: Customer) -> None:
    """What every removal does first."""
    with transaction.atomic():
        refuse_held(customer.pk)


# Placing


@pytest.mark.parametrize("by", ["ada", "olga"])
def test_one_person_places_it_and_it_is_on_record(placing: Placing, acme: Customer, by: str) -> None:
    hold = placing(by)
    assert hold.is_open and (hold.placed_by, hold.placed_at) == (by, NOW)
    event = Event.objects.get(event="hold:placed")
    assert (event.customer, event.facts) == (acme.pk, {"review": LATER.isoformat()})
    assert hold.history.get().history_change_reason == "file 4 O 17/26"


@pytest.mark.parametrize(("by", "said"), [("bo", "not a customer of theirs"), ("rita", "needs the right"), ("otto", "needs the right")])
def test_who_may_not_see_the_customer_or_may_not_place_holds_places_none(
    placing: Placing, people: dict[str, User], by: str, said: str
) -> None:
    with pytest.raises(HoldRefused, match=said):
        placing(by)
    assert not LegalHold.objects.exists() and not Event.objects.filter(event="hold:placed").exists()


@pytest.mark.parametrize(
    ("options", "field"), [({"holder": ""}, "holder"), ({"basis": ""}, "basis"), ({"review_on": TODAY - timedelta(days=1)}, "review_on")]
)
def test_a_hold_says_who_demands_it_on_what_ground_and_when_to_look_again(placing: Placing, options: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        placing(**options)
    assert list(refused.value.message_dict) == [field]
    assert not LegalHold.objects.exists()


# What it does


def test_every_removal_is_refused_while_it_is_open_and_says_whose_hold_it_is(hold: LegalHold, acme: Customer, acme2: Customer) -> None:
    with pytest.raises(OnHold, match=r"A legal hold of District Court is open since .* UTC: nothing is removed until two people"):
        removes(acme)
    removes(acme2)
    assert held() == held([acme.pk, acme2.pk]) == {acme.pk}
    assert held([acme2.pk]) == held([]) == set()


def test_it_hides_and_freezes_nothing(hold: LegalHold, acme: Customer) -> None:
    record = DataRecord.objects.create(customer=acme, kind="product", reference="P-1")
    record.kind = "part"
    record.save()
    assert record.history.count() == 2
    record.delete()
    assert DataRecord.history.filter(history_stream=acme.pk).count() == 3


def test_each_of_several_holds_must_be_released(placing: Placing, people: dict[str, User], acme: Customer) -> None:
    first, second = placing(), placing("olga", holder="Tax office")
    for left, hold in (({acme.pk}, second), (set(), first)):
        asked = request_release(hold, by=people["ada"], why="done", now=NOW)
        release(asked, by=people["rita"], password="pw", now=NOW)
        assert held() == left
    removes(acme)


# Reviewing


def test_it_is_due_from_its_day_on_until_somebody_postpones_it(placing: Placing, people: dict[str, User]) -> None:
    hold = placing(review_on=TODAY + timedelta(days=7))
    assert not due_for_review(TODAY + timedelta(days=6)).exists()
    assert [*due_for_review(TODAY + timedelta(days=7))] == [*due_for_review(TODAY + timedelta(days=700))] == [hold]
    postponed = postpone_review(hold, review_on=LATER, why="the court said so", by=people["ada"], now=NOW + timedelta(days=8))
    assert postponed.review_on == LATER and not due_for_review(TODAY + timedelta(days=8)).exists()
    newest = hold.history.first()
    assert (newest.history_change_reason, newest.history_type) == ("the court said so", "~")
    assert Event.objects.get(event="hold:review-postponed").facts == {"review": LATER.isoformat()}


def test_a_hold_whose_review_is_overdue_goes_on(placing: Placing, acme: Customer) -> None:
    placing(now=NOW - timedelta(days=900), review_on=TODAY - timedelta(days=800))
    with pytest.raises(OnHold):
        removes(acme)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"review_on": TODAY - timedelta(days=1)}, ValidationError),
        ({"why": "  "}, ValidationError),
        ({"by": "bo"}, HoldRefused),
        ({"by": "rita"}, HoldRefused),
    ],
)
def test_a_review_is_postponed_to_a_day_to_come_with_a_reason_by_who_may(
    hold: LegalHold, people: dict[str, User], options: dict[str, Any], refusal: type[Exception]
) -> None:
    about: dict[str, Any] = {"review_on": LATER + timedelta(days=1), "why": "it goes on", "by": "ada"} | options
    with pytest.raises(refusal):
        postpone_review(hold, **about | {"by": people[about["by"]]}, now=NOW)
    assert LegalHold.objects.get().review_on == LATER


# Releasing


def test_one_asks_another_releases(asked: HoldReleaseRequest, hold: LegalHold, people: dict[str, User], acme: Customer) -> None:
    with pytest.raises(OnHold):
        removes(acme)
    released = release(asked, by=people["rita"], password="pw", now=NOW)
    assert not released.is_open and (released.released_by, released.release_approved_by) == ("ada", "rita")
    assert (released.release_reason, HoldReleaseRequest.objects.get().state) == ("the case is closed", "executed")
    event = Event.objects.get(event="hold:released")
    assert (event.actor, event.customer, event.facts) == ("ada", acme.pk, {"approved_by": "rita"})
    removes(acme)


@pytest.mark.parametrize(
    ("by", "password", "why"),
    [
        ("ada", "pw", two_person.SAME_PERSON),
        ("olga", "pw", two_person.NOT_ENTITLED),
        ("otto", "pw", two_person.NOT_ENTITLED),
        ("rita", "guess", two_person.PASSWORD),
    ],
)
def test_nobody_else_releases_it(
    asked: HoldReleaseRequest, people: dict[str, User], acme: Customer, by: str, password: str, why: str
) -> None:
    with pytest.raises(ApprovalRefused) as refused:
        release(asked, by=people[by], password=password, now=NOW)
    assert refused.value.why == why
    assert held() == {acme.pk} and HoldReleaseRequest.objects.get().state == "requested"


def test_an_account_manager_asks_for_own_customers_alone(hold: LegalHold, people: dict[str, User]) -> None:
    with pytest.raises(HoldRefused, match="not a customer of theirs"):
        request_release(hold, by=people["bo"], why="x", now=NOW)
    with pytest.raises(ApprovalRefused, match="may not ask"):
        request_release(hold, by=people["olga"], why="x", now=NOW)
    with pytest.raises(ApprovalRefused, match="Say why"):
        request_release(hold, by=people["ada"], why=" ", now=NOW)
    assert not HoldReleaseRequest.objects.exists()


def test_one_open_request_for_each_hold(asked: HoldReleaseRequest, hold: LegalHold, people: dict[str, User]) -> None:
    with pytest.raises(HoldRefused, match="asked for already"):
        request_release(hold, by=people["ada"], why="again", now=NOW)
    twin = HoldReleaseRequest(what="x", why="x", plan_digest="0" * 64, requested_by=people["ada"], requested_at=NOW, hold=hold)
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()
    refuse(asked, by=people["rita"], why="not yet", now=NOW)
    again = request_release(hold, by=people["ada"], why="again", now=NOW)
    assert cancel(again, by=people["ada"], why="no", now=NOW).state == "cancelled"
    assert [one.state for one in HoldReleaseRequest.objects.order_by("pk")] == ["refused", "cancelled"]


def test_a_hold_that_became_another_one_is_not_released(asked: HoldReleaseRequest, people: dict[str, User], acme: Customer) -> None:
    LegalHold.objects.tracked_change(basis="file 4 O 18/26")
    with pytest.raises(PlanChanged):
        release(HoldReleaseRequest.objects.get(), by=people["rita"], password="pw", now=NOW)
    assert HoldReleaseRequest.objects.get().state == "void" and held() == {acme.pk}


def test_a_postponed_review_does_not_void_the_request(asked: HoldReleaseRequest, hold: LegalHold, people: dict[str, User]) -> None:
    postpone_review(hold, review_on=LATER + timedelta(days=9), why="until it is decided", by=people["ada"], now=NOW)
    assert not release(HoldReleaseRequest.objects.get(), by=people["rita"], password="pw", now=NOW).is_open


def test_what_was_approved_before_a_crash_is_finished_once(asked: HoldReleaseRequest, hold: LegalHold, people: dict[str, User]) -> None:
    with pytest.raises(NotAllowed):
        finish(asked, now=NOW)
    assert held()
    approved = two_person.approve(asked, by=people["rita"], password="pw", plan=plan_of(hold), now=NOW)  # and then the process died
    assert not finish(approved, now=NOW).is_open
    with pytest.raises(HoldRefused, match="It was released"):
        finish(approved, now=NOW)
    assert Event.objects.filter(event="hold:released").count() == 1


def test_a_released_hold_takes_nothing_more(asked: HoldReleaseRequest, people: dict[str, User], placing: Placing) -> None:
    released = release(asked, by=people["rita"], password="pw", now=NOW)
    for act in (
        lambda: postpone_review(released, review_on=LATER, why="x", by=people["ada"], now=NOW),
        lambda: request_release(released, by=people["ada"], why="x", now=NOW),
    ):
        with pytest.raises(HoldRefused, match="place a new hold"):
            act()
    placing()
    assert held()


def test_the_database_takes_no_release_by_one_person_alone(hold: LegalHold) -> None:
    for approver in ("", "ada"):
        hold.released_at, hold.released_by, hold.release_approved_by = NOW, "ada", approver
        with pytest.raises(IntegrityError), transaction.atomic():
            hold.save()
    assert LegalHold.objects.get().is_open


def test_dates_are_days_of_the_calendar(placing: Placing) -> None:
    """Placed in the last second of a day, it may be reviewed on that day still."""
    midnight = datetime(2030, 6, 30, 23, 59, 59, tzinfo=UTC)
    assert placing(now=midnight, review_on=date(2030, 6, 30)).is_due(date(2030, 6, 30))


class TestTwoConnections:
    pytestmark = two_connections

    def test_a_hold_waits_for_the_removal_that_is_being_decided_and_the_next_one_sees_it(self, placing: Placing, acme: Customer) -> None:
        with writer_under_way(lambda: refuse_held(acme.pk)) as (decider, may_commit):
            late = Elsewhere(placing)
            assert late.waits_for_a_lock()
            may_commit.set()
            assert decider.ended() is None
            assert isinstance(late.ended(), LegalHold)
        with pytest.raises(OnHold):
            removes(acme)

    def test_a_removal_waits_for_the_hold_that_is_being_placed_and_is_refused(self, placing: Placing, acme: Customer) -> None:
        with writer_under_way(placing) as (holder, may_commit):
            decider = Elsewhere(lambda: removes(acme))
            assert decider.waits_for_a_lock()
            may_commit.set()
            assert isinstance(holder.ended(), LegalHold)
            assert isinstance(decider.ended(), OnHold)

    def test_who_writes_content_waits_for_neither(self, placing: Placing, acme: Customer) -> None:
        def write() -> DataRecord:
            return DataRecord.objects.create(customer=acme, kind="product", reference="P-1")

        with writer_under_way(lambda: refuse_held(acme.pk)):
            assert isinstance(Elsewhere(write).ended(), DataRecord)
