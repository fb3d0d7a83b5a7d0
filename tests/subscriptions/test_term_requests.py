"""What was agreed is changed at once where nothing goes sooner, by two people and a week later where something does (P5, P6, P9)."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from audit import two_person
from audit.errors import BypassRefused
from audit.models import Event
from audit.states import NotAllowed
from audit.two_person import ApprovalRefused, PlanChanged
from subscriptions import tasks, term_effects
from subscriptions.models import Customer, Subscription, TermChangeRequest
from subscriptions.onboarding import add_customer
from subscriptions.term_effects import Effect
from subscriptions.term_requests import (
    Begun,
    TermsNotMade,
    TermsRefused,
    approve,
    cancel,
    change_at_once,
    finish,
    make_due,
    plan_of,
    refuse,
    request_change,
    what_if,
)
from tests.audit.test_freezes import Elsewhere, two_connections, writer_under_way

NOW = datetime.now(UTC)
WEEK = timedelta(days=7)
MOMENT = timedelta(seconds=1)
NEXT_YEAR = date(2027, 12, 31)


@pytest.fixture
def agreed(acme: Customer) -> Subscription:
    """Open-ended, by the standard."""
    return acme.subscriptions.get()


def stored() -> Subscription:
    return Subscription.objects.get(customer__code="acme")


def ask(people: dict[str, User], agreed: Subscription, by: str = "ada", **changes: Any) -> TermChangeRequest:
    return request_change(agreed, by=people[by], why="the new contract says so", now=NOW, **(changes or {"agreed_retention_years": 7}))


def at_once(people: dict[str, User], agreed: Subscription, by: str = "ada", **changes: Any) -> Subscription:
    return change_at_once(agreed, by=people[by], why="the new contract says so", now=NOW, **changes)


def approved(people: dict[str, User], agreed: Subscription, **changes: Any) -> TermChangeRequest:
    return approve(ask(people, agreed, **changes), by=people["rita"], password="pw", now=NOW)


# At once, by one person


def test_longer_terms_are_in_force_at_once_by_one_person(people: dict[str, User], agreed: Subscription, acme: Customer) -> None:
    at_once(people, agreed, agreed_retention_years=30, agreed_destruction_days=60)
    assert (stored().agreed_retention_years, stored().agreed_destruction_days) == (30, 60)
    assert stored().history.first().history_change_reason == "the new contract says so"
    event = Event.objects.get(event="terms:changed")
    assert (event.customer, event.subject) == (acme.pk, f"l2l_subscriptions.subscription:{agreed.pk}")
    assert event.facts == {"years": "30", "days": "60"}
    assert not TermChangeRequest.objects.exists()


def test_a_later_end_and_no_end_are_longer(people: dict[str, User], agreed: Subscription) -> None:
    finish(approved(people, agreed, end=NEXT_YEAR), now=NOW + WEEK)
    at_once(people, stored(), end=NEXT_YEAR + timedelta(days=1))
    at_once(people, stored(), end=None)
    assert stored().end is None


@pytest.mark.parametrize(
    "changes",
    [
        {"agreed_retention_years": 19},
        {"agreed_destruction_days": 29},
        {"end": NEXT_YEAR},
        {"agreed_retention_years": 30, "agreed_destruction_days": 10},
    ],
)
def test_one_person_shortens_nothing(people: dict[str, User], agreed: Subscription, changes: dict[str, Any]) -> None:
    before = stored().terms
    with pytest.raises(TermsRefused, match="another person decides"):
        at_once(people, agreed, **changes)
    assert stored().terms == before and not Event.objects.filter(event="terms:changed").exists()
    assert ask(people, agreed, **changes).state == "requested"


def test_what_would_let_something_of_another_app_go_sooner_takes_two(
    people: dict[str, User], agreed: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term_effects, "_foreseen", [lambda *_: Effect(("3 things would go earlier.",), sooner=3)])
    with pytest.raises(TermsRefused, match="another person decides"):
        at_once(people, agreed, agreed_retention_years=30)
    assert what_if(agreed, now=NOW, agreed_retention_years=30).begins == NOW + WEEK
    assert ask(people, agreed, agreed_retention_years=30).state == "requested"


def test_what_is_longer_needs_no_request(people: dict[str, User], agreed: Subscription) -> None:
    with pytest.raises(TermsRefused, match="needs no second person"):
        ask(people, agreed, agreed_retention_years=30)
    assert what_if(agreed, now=NOW, agreed_retention_years=30).begins == NOW


@pytest.mark.parametrize("verb", [request_change, change_at_once])
def test_nothing_changes_without_the_right_the_customer_and_a_reason(people: dict[str, User], agreed: Subscription, verb: Any) -> None:
    years = {request_change: 7, change_at_once: 30}[verb]
    for by, why, said in (
        ("rita", "x", "needs the right"),
        ("otto", "x", "needs the right"),
        ("olga", "x", "needs the right"),
        ("bo", "x", "not a customer of theirs"),
        ("ada", "  ", "Say why"),
    ):
        with pytest.raises(ApprovalRefused, match=said):
            verb(agreed, by=people[by], why=why, now=NOW, agreed_retention_years=years)
    assert stored().agreed_retention_years is None and not TermChangeRequest.objects.exists()


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"agreed_retention_years": 0}, ValidationError),
        ({"agreed_destruction_days": 366}, ValidationError),
        ({"end": date(2025, 12, 31)}, ValidationError),
        ({"end": "tomorrow"}, ValidationError),
        ({"agreed_retention_years": None}, TermsRefused),
        ({"plan": "gold"}, TermsRefused),
    ],
)
def test_what_does_not_fit_is_said_before_anybody_decides(
    people: dict[str, User], agreed: Subscription, changes: dict[str, Any], refusal: type[Exception]
) -> None:
    for verb in (ask, at_once):
        with pytest.raises(refusal):
            verb(people, agreed, **changes)
    assert not TermChangeRequest.objects.exists()


# By two, a week later


def test_shorter_terms_take_a_second_person_and_seven_days(people: dict[str, User], agreed: Subscription, acme: Customer) -> None:
    asked = ask(people, agreed, agreed_retention_years=7, end=NEXT_YEAR)
    assert asked.what == "acme-1 of acme: last day: open-ended → 2027-12-31; years that data is kept: standard → 7"
    assert make_due(NOW + timedelta(days=900)).made == []
    asked = approve(asked, by=people["rita"], password="pw", now=NOW)
    assert asked.begins_at == NOW + WEEK and stored().agreed_retention_years is None
    assert make_due(NOW + WEEK - MOMENT).made == []
    with pytest.raises(TermsRefused, match=r"takes effect on .* UTC: not before"):
        finish(asked, now=NOW + WEEK - MOMENT)
    assert stored().agreed_retention_years is None
    assert make_due(NOW + WEEK).made == [asked.pk]
    assert (stored().agreed_retention_years, stored().end) == (7, NEXT_YEAR)
    assert TermChangeRequest.objects.get().state == "executed"
    event = Event.objects.get(event="terms:changed")
    assert (event.actor, event.customer) == ("ada", acme.pk)
    assert event.facts == {"years": "7", "end": "2027-12-31", "approved_by": "rita"}
    assert stored().history.first().history_change_reason == "the new contract says so"


def test_it_is_made_once(people: dict[str, User], agreed: Subscription) -> None:
    asked = approved(people, agreed)
    assert make_due(NOW + WEEK).made == [asked.pk] and make_due(NOW + WEEK).made == []
    at_once(people, stored(), agreed_retention_years=30)
    with pytest.raises(NotAllowed):
        finish(asked, now=NOW + WEEK)
    assert stored().agreed_retention_years == 30 and Event.objects.filter(event="terms:changed").count() == 2


@pytest.mark.parametrize(
    ("by", "password", "why"),
    [
        ("ada", "pw", two_person.SAME_PERSON),
        ("olga", "pw", two_person.NOT_ENTITLED),
        ("otto", "pw", two_person.NOT_ENTITLED),
        ("bo", "pw", two_person.NOT_ENTITLED),
        ("rita", "guess", two_person.PASSWORD),
    ],
)
def test_nobody_else_approves(people: dict[str, User], agreed: Subscription, by: str, password: str, why: str) -> None:
    asked = ask(people, agreed)
    with pytest.raises(ApprovalRefused) as refused:
        approve(asked, by=people[by], password=password, now=NOW)
    assert refused.value.why == why and TermChangeRequest.objects.get().state == "requested"
    assert make_due(NOW + 2 * WEEK).made == [] and stored().agreed_retention_years is None


@pytest.mark.parametrize("by", ["ada", "rita"])
def test_either_cancels_it_until_it_is_made(people: dict[str, User], agreed: Subscription, by: str) -> None:
    asked = approved(people, agreed)
    with pytest.raises(ApprovalRefused, match="not a customer of theirs"):
        cancel(asked, by=people["bo"], why="x", now=NOW)
    assert cancel(asked, by=people[by], why="they stay", now=NOW + WEEK - MOMENT).state == "cancelled"
    assert make_due(NOW + 2 * WEEK).made == [] and stored().agreed_retention_years is None


def test_refused_it_can_be_asked_for_again_but_one_at_a_time(people: dict[str, User], agreed: Subscription) -> None:
    asked = ask(people, agreed)
    with pytest.raises(TermsRefused, match="asked for already"):
        ask(people, agreed, end=NEXT_YEAR)
    twin = TermChangeRequest(what="x", why="x", plan_digest="0" * 64, requested_by=people["ada"], requested_at=NOW)
    twin.subscription, twin.changes = agreed, {}
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()
    assert refuse(asked, by=people["rita"], why="not agreed", now=NOW).state == "refused"
    assert ask(people, agreed, end=NEXT_YEAR).state == "requested"


# Changed meanwhile


def test_terms_that_changed_meanwhile_void_the_request_at_once(people: dict[str, User], agreed: Subscription) -> None:
    for state in ("requested", "approved"):
        asked = approved(people, stored()) if state == "approved" else ask(people, stored())
        assert asked.state == state
        at_once(people, stored(), agreed_destruction_days=(stored().agreed_destruction_days or 30) + 1)
        assert TermChangeRequest.objects.get(pk=asked.pk).state == "void"
    assert make_due(NOW + WEEK).made == [] and stored().agreed_retention_years is None
    assert Event.objects.filter(event="request:voided").count() == 2


def test_terms_that_changed_behind_our_back_are_found_at_the_approval_and_at_the_deed(
    people: dict[str, User], agreed: Subscription
) -> None:
    asked = ask(people, agreed)
    agreed.end = NEXT_YEAR
    agreed.save_terms()
    with pytest.raises(PlanChanged):
        approve(asked, by=people["rita"], password="pw", now=NOW)
    asked = approved(people, agreed)
    agreed.end = None
    agreed.save_terms()
    assert make_due(NOW + WEEK).void == [asked.pk]
    assert {one.state for one in TermChangeRequest.objects.all()} == {"void"} and stored().agreed_retention_years is None


def test_what_is_no_term_may_change_meanwhile(people: dict[str, User], agreed: Subscription) -> None:
    asked = approved(people, agreed)
    other = stored()
    other.notice_contacts = "a@example.com"
    other.save()
    assert make_due(NOW + WEEK).made == [asked.pk]
    assert (stored().agreed_retention_years, stored().notice_contacts) == (7, "a@example.com")


def test_one_that_cannot_be_made_holds_up_no_other_and_is_told(
    people: dict[str, User], agreed: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = add_customer("beta", "Beta", start=date(2026, 1, 1), account_manager=people["ada"])
    first, second = approved(people, agreed), approved(people, other.subscriptions.get())
    plain = Subscription.save_terms

    def fails(self: Subscription) -> None:
        if self.customer_id == agreed.customer_id:
            raise IntegrityError("the database says no")
        plain(self)

    monkeypatch.setattr(Subscription, "save_terms", fails)
    monkeypatch.setattr(tasks.clock, "now", lambda: NOW + WEEK)
    with pytest.raises(TermsNotMade, match=f"request {first.pk}: the database says no"):
        tasks.begin_terms()
    assert TermChangeRequest.objects.get(pk=second.pk).state == "executed" and other.subscriptions.get().agreed_retention_years == 7
    assert TermChangeRequest.objects.get(pk=first.pk).state == "approved"
    monkeypatch.setattr(Subscription, "save_terms", plain)
    assert tasks.begin_terms() == "1 made, 0 void" and stored().agreed_retention_years == 7


# No other way


def test_no_save_and_no_bulk_verb_changes_a_term(agreed: Subscription) -> None:
    for name, value in (("agreed_retention_years", 30), ("agreed_destruction_days", 60), ("end", NEXT_YEAR)):
        changed = stored()
        setattr(changed, name, value)
        for write in (
            changed.save,
            lambda changed=changed: changed.save(force_update=True),
            lambda changed=changed: Subscription.objects.tracked_update([changed]),
            lambda name=name, value=value: Subscription.objects.tracked_change(**{name: value}),
            lambda name=name, value=value: Subscription.objects.update_or_create({name: value}, agreement_number="acme-1"),
            lambda name=name, value=value: Subscription.objects.update(**{name: value}),
        ):
            with pytest.raises(BypassRefused) as refused:
                write()
            assert "request_change()" in str(refused.value) or "update()" in str(refused.value)
    assert stored().terms == agreed.terms and stored().history.count() == 1


def test_an_instance_from_before_brings_no_old_term_back(people: dict[str, User], agreed: Subscription) -> None:
    old = stored()
    at_once(people, agreed, agreed_retention_years=30)
    old.notice_contacts = "a@example.com"
    with pytest.raises(BypassRefused, match="somebody else did"):
        old.save()
    assert stored().agreed_retention_years == 30


def test_it_stays_with_its_customer_and_is_never_deleted(agreed: Subscription, acme2: Customer) -> None:
    moved = stored()
    moved.customer = acme2
    with pytest.raises(BypassRefused, match="stays with its customer"):
        moved.save()
    for delete in (agreed.delete, Subscription.objects.all().delete, agreed.customer.subscriptions.all().tracked_delete):
        with pytest.raises(BypassRefused, match="never deleted"):
            delete()
    assert stored().customer_id == agreed.customer_id


def test_a_further_subscription_and_plain_fields_are_written_as_before(acme: Customer, agreed: Subscription) -> None:
    Subscription(customer=acme, agreement_number="acme-2", start=date(2026, 2, 1), agreed_retention_years=5, end=NEXT_YEAR).save()
    agreed.plan = "gold"
    agreed.save()
    Subscription.objects.tracked_change(return_days=20)
    assert {(one.return_days, one.agreed_retention_years) for one in acme.subscriptions.all()} == {(20, None), (20, 5)}


def test_the_plan_says_what_it_is_bound_to(agreed: Subscription, acme: Customer) -> None:
    assert plan_of(agreed, {"end": "2027-12-31"}) == {
        "subscription": agreed.pk,
        "customer": str(acme.pk),
        "agreement_number": "acme-1",
        "start": "2026-01-01",
        "before": {"end": None, "agreed_retention_years": None, "agreed_destruction_days": None},
        "changes": [{"name": "end", "old": None, "new": "2027-12-31", "shorter": True}],
    }


class TestTwoConnections:
    pytestmark = two_connections

    def test_of_two_processes_one_makes_it(self, people: dict[str, User], agreed: Subscription) -> None:
        asked = approved(people, agreed)
        with writer_under_way(lambda: make_due(NOW + WEEK)) as (first, may_commit):
            second = Elsewhere(lambda: make_due(NOW + WEEK))
            assert second.waits_for_a_lock()
            may_commit.set()
            assert first.ended() == Begun(made=[asked.pk])
            assert isinstance(second.ended(), Begun) and second.ended().made == []  # type: ignore[attr-defined]
        assert stored().agreed_retention_years == 7 and Event.objects.filter(event="terms:changed").count() == 1
        assert TermChangeRequest.objects.get().state == "executed"

    def test_who_cancels_while_it_is_being_made_is_told_that_it_is_too_late(self, people: dict[str, User], agreed: Subscription) -> None:
        asked = approved(people, agreed)
        with writer_under_way(lambda: make_due(NOW + WEEK)) as (_, may_commit):
            late = Elsewhere(lambda: cancel(asked, by=people["ada"], why="they stay", now=NOW + WEEK))
            assert late.waits_for_a_lock()
            may_commit.set()
            assert isinstance(late.ended(), NotAllowed)
        assert stored().agreed_retention_years == 7

    def test_what_was_cancelled_in_the_last_moment_is_not_made(self, people: dict[str, User], agreed: Subscription) -> None:
        asked = approved(people, agreed)
        with writer_under_way(lambda: cancel(asked, by=people["rita"], why="they stay", now=NOW + WEEK)) as (_, may_commit):
            worker = Elsewhere(lambda: make_due(NOW + WEEK))
            assert worker.waits_for_a_lock()
            may_commit.set()
            assert worker.ended() == Begun()
        assert stored().agreed_retention_years is None and TermChangeRequest.objects.get().state == "cancelled"

    def test_a_plain_save_waits_for_the_change_and_brings_no_old_term_back(self, people: dict[str, User], agreed: Subscription) -> None:
        old = stored()
        old.plan = "gold"
        with writer_under_way(lambda: at_once(people, agreed, agreed_retention_years=30)) as (_, may_commit):
            late = Elsewhere(old.save)
            assert late.waits_for_a_lock()
            may_commit.set()
            assert isinstance(late.ended(), BypassRefused)
        assert (stored().agreed_retention_years, stored().plan) == (30, "")
