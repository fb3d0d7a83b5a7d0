"""The evidence trail: numbered without holes, committed with its deed, free of content, and never changed (P5, P13)."""

from __future__ import annotations

import threading
from datetime import date
from typing import Any

import pytest
from django.db import DatabaseError, connection, connections, transaction

import audit
from audit import chain, events
from audit.errors import BypassRefused, NoActor
from audit.events import FACTS, NotEvidence, record, record_apart
from audit.events import Event as Kind
from audit.models import Event, JournalRow
from tests.audit.reading import journal_agrees, types


def numbers() -> list[int]:
    return sorted(Event.objects.values_list("number", flat=True))


def sign_in(**about: Any) -> Event:
    return record(Kind.SIGNED_IN, **about)


@pytest.fixture
def trail(acting: Any, db: None) -> list[Event]:
    return [sign_in(facts={"address": f"10.0.0.{last}"}) for last in (1, 2, 3)]


def test_every_kind_is_named_subject_action_and_says_which_facts_it_carries() -> None:
    assert all(kind.value.count(":") == 1 and kind.value.islower() and " " not in kind.value for kind in Kind)
    assert set(FACTS) == set(Kind)


def test_an_event_says_who_what_when_and_follows_the_one_before(trail: list[Event]) -> None:
    first, second, third = Event.objects.order_by("number")
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert (third.event, third.actor, third.source, third.facts) == ("session:opened", "ada", "test", {"address": "10.0.0.3"})
    assert first.at <= second.at <= third.at
    assert third.leaf == third.leaf_now()
    assert chain.Head(third.number, third.digest) == chain.following(chain.Head(second.number, second.digest), third.leaf)
    assert len({first.salt, second.salt, third.salt}) == 3


def test_it_is_in_the_system_stream_with_history_and_journal_and_without_the_reason(trail: list[Event]) -> None:
    assert types(Event) == "+++" and journal_agrees(Event)
    assert not any(row.history_change_reason for row in Event.history.all())


def test_an_event_of_a_row_names_it_and_its_customer(acme: Any) -> None:
    (added,) = Event.objects.filter(event=Kind.CUSTOMER_ADDED)
    assert (added.subject, added.customer, added.facts) == (f"l2l_subscriptions.customer:{acme.pk}", acme.pk, {"code": "acme"})


@pytest.mark.parametrize(
    "facts", [{"weather": 1}, {"address": "two words"}, {"address": ["10.0.0.1"]}, {"address": 1.5}, {"address": "x" * 201}]
)
def test_free_text_and_unknown_facts_are_refused(acting: Any, db: None, facts: dict[str, Any]) -> None:
    with pytest.raises(NotEvidence):
        sign_in(facts=facts)
    with pytest.raises(NotEvidence):
        sign_in(subject="a customer's own words")
    assert numbers() == []


def test_nobody_acting_is_refused(db: None) -> None:
    with pytest.raises(NoActor):
        sign_in()


def test_the_event_and_the_deed_commit_together(acting: Any, db: None) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        sign_in()
        raise ZeroDivisionError
    sign_in()
    assert numbers() == [1]


def test_what_is_told_apart_survives_the_rollback(acting: Any, db: None) -> None:
    with pytest.raises(ZeroDivisionError), events.apart(), audit.acting("grace"), transaction.atomic():
        sign_in()
        record_apart(Kind.REFUSED, facts={"view": "admin:index"})
        raise ZeroDivisionError
    (told,) = Event.objects.all()
    assert (told.number, told.event, told.actor) == (1, "access:refused", "grace")


def test_a_command_inside_of_a_request_hands_what_is_told_apart_to_the_outer_one(acting: Any, db: None) -> None:
    with pytest.raises(ZeroDivisionError), events.apart(), transaction.atomic():
        with events.apart():
            record_apart(Kind.REFUSED)
        assert numbers() == []
        raise ZeroDivisionError
    assert numbers() == [1]


def test_facts_told_apart_are_checked_at_once(acting: Any, db: None) -> None:
    with events.apart(), pytest.raises(NotEvidence):
        record_apart(Kind.REFUSED, facts={"view": "free text here"})


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.save(),
        lambda row: row.delete(),
        lambda row: Event.objects.update(actor="x"),
        lambda row: Event.objects.tracked_change(actor="x"),
        lambda row: Event.objects.all().delete(),
        lambda row: Event.objects.tracked_delete(),
        lambda row: Event.objects.tracked_create([]),
        lambda row: Event._base_manager.all().delete(),
    ],
)
def test_an_event_is_never_changed_or_removed(trail: list[Event], change: Any) -> None:
    row = Event.objects.get(number=2)
    row.actor = "somebody else"
    with pytest.raises(BypassRefused):
        change(row)
    assert list(Event.objects.values_list("actor", flat=True)) == ["ada"] * 3


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no such guard")
@pytest.mark.parametrize(
    "statement", ["UPDATE l2l_audit_event SET actor = 'x'", "DELETE FROM l2l_audit_event", "DELETE FROM l2l_audit_signedhead"]
)
def test_postgresql_refuses_raw_sql_too(trail: list[Event], statement: str) -> None:
    if "signedhead" in statement:
        from audit.evidence import sign_head
        from audit.signing import Signer, new_secret

        sign_head(Signer(new_secret()), trail[0].at)
    with pytest.raises(DatabaseError, match="only added to"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.django_db(transaction=True)
def test_writers_at_the_same_time_leave_no_hole_and_do_not_wait_for_ever() -> None:
    """Each also writes something tracked first, which shares the stream's row."""
    from subscriptions.onboarding import add_customer

    start, failed = threading.Barrier(3), []

    def work(who: str) -> None:
        try:
            with audit.acting(who, source="test"):
                start.wait()
                for turn in range(3):
                    add_customer(f"{who}-{turn}", who, start=date(2026, 1, 1))
        except Exception as problem:  # noqa: BLE001  (told below)
            failed.append(problem)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(who,)) for who in ("ada", "bob", "cyd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert numbers() == list(range(1, 10))
    assert JournalRow.objects.filter(model="l2l_audit.event").count() == 9
